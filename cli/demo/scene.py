"""A scene's report: what it claims, what it observed, and the figures it shows.

The rule: values alone. A claim is what the article says; it is observed or it is not, and the detail says how.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence, whether it was observed, and what was seen."""

    text: str
    observed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A table with a title: its columns, and rows of as many cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Part = Claim | Figure


@dataclass(slots=True)
class Report:
    """What a scene says, in the order in which it says it. tell: is called as soon as another part is there."""

    name: str
    tell: Callable[[Report], None]
    parts: list[Part] = field(default_factory=list)

    def claim(self, text: str, observed: bool, detail: str = "") -> None:
        """Adds a claim."""
        self._add(Claim(text, observed, detail))

    def figure(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Adds a table."""
        self._add(Figure(title, tuple(columns), tuple(tuple(row) for row in rows)))

    def _add(self, part: Part) -> None:
        self.parts.append(part)
        self.tell(self)

    @property
    def claims(self) -> list[Claim]:
        """The claims."""
        return [part for part in self.parts if isinstance(part, Claim)]

    @property
    def observed(self) -> bool:
        """Whether there was a claim, and every one was observed."""
        return bool(self.claims) and all(claim.observed for claim in self.claims)


def document(reports: Sequence[Report]) -> Mapping[str, object]:
    """The reports for `--json`."""
    return {"observed": all(report.observed for report in reports), "scenes": [_scene(report) for report in reports]}


def _scene(report: Report) -> Mapping[str, object]:
    figures = [part for part in report.parts if isinstance(part, Figure)]
    return {
        "name": report.name,
        "observed": report.observed,
        "claims": [{"claim": c.text, "observed": c.observed, "detail": c.detail} for c in report.claims],
        "figures": [{"title": f.title, "columns": list(f.columns), "rows": [list(r) for r in f.rows]} for f in figures],
    }
