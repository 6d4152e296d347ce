"""Problems of a configuration file, and the error that carries all of them.

The rule: each problem is one line that names the file, the line, the path of keys and what would be right.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

MESSAGE_MAX = 400
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at a path of keys; line is None until it was looked up in the text."""

    path: KeyPath
    message: str
    line: int | None = None

    def written(self, origin: str) -> str:
        """`lb.yaml:12: services.web.backends[1]: …`."""
        place = origin if self.line is None else f"{origin}:{self.line}"
        return ": ".join(part for part in (place, written_path(self.path), _one_line(self.message)) if part)


class ConfigError(Exception):
    """The configuration does not validate: all that is wrong with it, in the order of the file."""

    exit = 2

    def __init__(self, origin: str, problems: Iterable[Problem]) -> None:
        self.origin = origin
        self.problems = tuple(problems)
        super().__init__("\n".join(self.lines))

    @property
    def lines(self) -> list[str]:
        """One line for each problem."""
        return [problem.written(self.origin) for problem in self.problems]


def written_path(path: KeyPath) -> str:
    """`services.web.backends[1]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{_printable(part)}" if text else _printable(part)
    return text


def shown(value: object, limit: int = 60) -> str:
    """A value as it may stand in a message: quoted, on one line, cut when it is long."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def listed(words: Iterable[str]) -> str:
    """`nat, gateway or packet`."""
    *others, last = list(words)
    return f"{', '.join(others)} or {last}" if others else last


def meant(word: str, known: Iterable[str]) -> str:
    """`; did you mean web?`, or nothing when no known word is near."""
    near = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _one_line(message: str) -> str:
    """The message without what would break a line or a terminal, cut at MESSAGE_MAX characters."""
    text = message if message.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    return text if len(text) <= MESSAGE_MAX else text[: MESSAGE_MAX - 1] + "…"


def _printable(part: str) -> str:
    return part if part.isprintable() and len(part) <= 80 else shown(part)
