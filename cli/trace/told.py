"""A passage as JSON and as a line for people.

The rule: both say the same; the line reads like the article's table: arrived, then left.
"""

from __future__ import annotations

from typing import Any

from cli.output import bold, faint
from cli.trace.sighting import Box, Passage

WIDTH = 44
NOT_SEEN = {"arrived": "made here", "left": "went no further"}
HEADING = (
    f"{'FLOW':>5}  {'LISTENER':<12} {'DIRECTION':<9} {'WHAT':<6} {'ARRIVED: SOURCE -> DESTINATION':<{WIDTH}} "
    f"{'LEFT: SOURCE -> DESTINATION':<{WIDTH}} {'BYTES':>6} {'TOOK':>8} {'SINCE':>9}"
)


def document(passage: Passage) -> dict[str, Any]:
    """Times in seconds; `time` since the epoch, `took` between the boxes, `since` the flow's last packet."""
    return {
        "time": round(passage.time, 6),
        "flow": passage.flow,
        "listener": passage.listener,
        "service": passage.service,
        "direction": passage.direction,
        "protocol": passage.protocol,
        "flags": passage.flags,
        "bytes": passage.length,
        "arrived": _box(passage.arrived),
        "left": _box(passage.left),
        "took": None if passage.took is None else round(passage.took, 6),
        "since": None if passage.since is None else round(passage.since, 6),
    }


def _box(box: Box | None) -> dict[str, str] | None:
    if box is None:
        return None
    return {
        "source": str(box.source),
        "destination": str(box.destination),
        "interface": box.sighting.interface,
    }


def line(passage: Passage) -> str:
    """One line."""
    what = passage.flags or passage.protocol
    arrived, left = boxed(passage.arrived, "arrived"), boxed(passage.left, "left")
    since = "-" if passage.since is None else f"+{duration(passage.since)}"
    name, direction = bold(f"{passage.listener:<12}"), passage.direction
    return (
        f"{passage.flow:>5}  {name} {direction:<9} {what:<6} {arrived} {left} "
        f"{passage.length:>6} {duration(passage.took):>8} {since:>9}"
    )


def boxed(box: Box | None, side: str) -> str:
    """`10.0.0.2:41000 -> 192.0.2.10:80`, as wide as all others."""
    if box is None:
        return faint(f"{'(' + NOT_SEEN[side] + ')':<{WIDTH}}")
    return f"{f'{box.source} -> {box.destination}':<{WIDTH}}"


def duration(seconds: float | None) -> str:
    """`61us`, `1.2ms`, `3.40s`; `-` for none."""
    if seconds is None:
        return "-"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f}us"
    return f"{seconds * 1e3:.1f}ms" if seconds < 1 else f"{seconds:.2f}s"
