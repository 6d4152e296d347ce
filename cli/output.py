"""Text for people: aligned tables, colours by meaning, numbers that can be read.

The rule: pure text; colours are ANSI codes that click takes out again where no terminal reads them or NO_COLOR is set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from click import style, unstyle

COLOURS = {
    "up": "green",
    "down": "red",
    "draining": "yellow",
    "disabled": "red",
    "add": "green",
    "change": "yellow",
    "remove": "red",
    "forward": "green",
    "respond": "green",
    "pass": "yellow",
    "reject": "red",
    "drop": "red",
    "ok": "green",
    "warning": "yellow",
    "error": "red",
    "problem": "red",
}
QUIET = frozenset({"unchecked", "enabled", "-"})
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
GAP = "  "


def coloured(word: str) -> str:
    """A word in the colour of what it means."""
    if word in QUIET:
        return style(word, dim=True)
    colour = COLOURS.get(word)
    return style(word, fg=colour) if colour else word


def bold(word: str) -> str:
    """A word that stands out."""
    return style(word, bold=True)


def faint(word: str) -> str:
    """A word that stands back."""
    return style(word, dim=True)


def number(value: int) -> str:
    """`1,234,567`."""
    return f"{value:,}"


def size(value: int) -> str:
    """Bytes in the largest unit that leaves at least 1: `117.2 KiB`."""
    amount, unit = float(value), 0
    # 1023.95 and above would be shown as 1024.0, which is the next unit.
    while amount >= 1023.95 and unit < len(UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{value} B" if unit == 0 else f"{amount:.1f} {UNITS[unit]}"


def counted(value: int, word: str) -> str:
    """`1 listener`, `2 listeners`."""
    plural = word[:-1] + "ies" if word.endswith("y") else word + "s"
    return f"{value:,} {word if value == 1 else plural}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[str] = ()) -> str:
    """Rows in columns as wide as their widest cell, those named in `right` flush right."""
    body = [list(row) for row in rows]
    to_right = {number for number, title in enumerate(header) if title in set(right)}
    lengths = [[_length(cell) for cell in row] for row in body]
    widths = [max([len(title), *(row[n] for row in lengths)]) for n, title in enumerate(header)]
    titles = [faint(title) for title in header]
    lines = [_line(titles, [len(title) for title in header], widths, to_right)]
    lines += [_line(row, length, widths, to_right) for row, length in zip(body, lengths, strict=True)]
    return "\n".join(lines)


def _length(cell: str) -> int:
    return len(unstyle(cell)) if "\x1b" in cell else len(cell)


def _line(cells: Sequence[str], lengths: Sequence[int], widths: Sequence[int], to_right: set[int]) -> str:
    last = len(cells) - 1
    parts = []
    for n, cell in enumerate(cells):
        room = " " * (widths[n] - lengths[n])
        if n in to_right:
            parts.append(room + cell)
        else:
            parts.append(cell if n == last else cell + room)
    return GAP.join(parts).rstrip()


def paragraphs(*parts: str) -> str:
    """The parts that are not empty, with an empty line between them."""
    return "\n\n".join(part for part in parts if part)
