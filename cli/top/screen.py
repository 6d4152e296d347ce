"""One screen of `lbctl top` as lines.

The rule: pure, from a status document, rates and the chosen row to at most `height` lines of at most `width` columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from click import style

from cli.output import coloured, counted, faint, size
from cli.top.rates import Key, Rates, backends_of, sparkline

HELP = "↑ ↓ choose   d drain   e enable   x disable   + - weight   q quit"
HEADER = ("BACKEND", "WEIGHT", "HEALTH", "ADMIN", "ACTIVE", "NEW/S", "BYTES/S", "TREND")
WIDTHS = (22, 6, 9, 8, 6, 6, 9)
"""Of all columns but the last, which takes what is left of the line."""
FULL = sum(WIDTHS) + len(WIDTHS)
RIGHT = frozenset({1, 4, 5, 6})


@dataclass(frozen=True, slots=True)
class View:
    """What the person chose, and what was last answered."""

    chosen: int = 0
    message: str = ""


def keys_of(document: Mapping[str, Any]) -> list[Key]:
    """The backends in the order of their rows."""
    return [key for key, _ in backends_of(document)]


def screen(document: Mapping[str, Any], rates: Rates, view: View, width: int, height: int) -> list[str]:
    """The lines, the chosen backend among them, whatever the height."""
    counts = [counted(len(document[f"{word}s"]), word) for word in ("listener", "service")]
    head = f"lbctl top   {', '.join(counts)}"
    body, at = _body(document, rates, view.chosen, width)
    room = max(1, height - 4)
    first = max(0, min(at - room // 2, len(body) - room))
    shown = body[first : first + room]
    titles = faint(_cells(HEADER, HEADER)[:width])
    return [head[:width], titles, *shown, *[""] * (room - len(shown)), view.message[:width], faint(HELP[:width])]


def _body(document: Mapping[str, Any], rates: Rates, chosen: int, width: int) -> tuple[list[str], int]:
    lines: list[str] = []
    row = at = 0
    for service in document["services"]:
        lines.append(style(f"{service['name']}  {service['scheduler']}"[:width], bold=True))
        for backend in service["backends"]:
            at = len(lines) if row == chosen else at
            lines.append(_line(service["name"], backend, rates, row == chosen, width))
            row += 1
    return lines, at


def _line(service: str, backend: Mapping[str, Any], rates: Rates, chosen: bool, width: int) -> str:
    key = (service, backend["address"])
    connections = rates.connections.get(key, ())
    plain = (
        f" {backend['address']}",
        str(backend["weight"]),
        backend["health"],
        backend["admin"],
        str(backend["connections"]["active"]),
        f"{connections[-1]:.0f}" if connections else "-",
        size(round(rates.bytes[key])) if key in rates.bytes else "-",
        sparkline(connections[-max(1, width - FULL) :]),
    )
    if chosen:
        return style(_cells(plain, plain)[:width].ljust(width), reverse=True)
    if width < FULL:
        return _cells(plain, plain)[:width]
    return _cells(plain, tuple(coloured(cell) if n in (2, 3) else cell for n, cell in enumerate(plain)))


def _cells(plain: tuple[str, ...], shown: tuple[str, ...]) -> str:
    """The cells, each in its width; plain tells how wide those are that are shown with colours."""
    parts = []
    for n, (text, cell) in enumerate(zip(plain, shown, strict=True)):
        if n == len(WIDTHS):
            parts.append(cell)
            continue
        if len(text) > WIDTHS[n]:
            parts.append(text[: WIDTHS[n] - 1] + "…")
            continue
        room = " " * (WIDTHS[n] - len(text))
        parts.append(room + cell if n in RIGHT else cell + room)
    return " ".join(parts).rstrip()
