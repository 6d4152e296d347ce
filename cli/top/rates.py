"""How fast backends get connections and bytes, from the counts of one status document and the next.

The rule: pure; time is an argument; a count that went down (a restart, a flush) begins anew and is no negative rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

KEPT = 16
BARS = " ▁▂▃▄▅▆▇█"

Key = tuple[str, str]
"""A service's name and a backend's address."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Per backend: new connections a second of the last KEPT looks, newest last; bytes a second of the last."""

    time: float = 0.0
    counts: Mapping[Key, tuple[int, int]] = field(default_factory=dict)
    connections: Mapping[Key, tuple[float, ...]] = field(default_factory=dict)
    bytes: Mapping[Key, float] = field(default_factory=dict)


def backends_of(document: Mapping[str, Any]) -> Iterator[tuple[Key, Mapping[str, Any]]]:
    """Every backend of a status document with its key, in its order."""
    for service in document["services"]:
        for backend in service["backends"]:
            yield (service["name"], backend["address"]), backend


def after(before: Rates, document: Mapping[str, Any], now: float) -> Rates:
    """The rates when this document is seen at this time."""
    counts = {key: (item["connections"]["total"], item["bytes"]) for key, item in backends_of(document)}
    seconds = now - before.time
    if not before.counts or seconds <= 0:
        return Rates(now, counts)
    fresh = {key: _rate(count, before.counts.get(key, count), seconds) for key, count in counts.items()}
    connections = {key: (*before.connections.get(key, ()), rate[0])[-KEPT:] for key, rate in fresh.items()}
    return Rates(now, counts, connections, {key: rate[1] for key, rate in fresh.items()})


def _rate(count: tuple[int, int], before: tuple[int, int], seconds: float) -> tuple[float, float]:
    return max(0, count[0] - before[0]) / seconds, max(0, count[1] - before[1]) / seconds


def sparkline(values: tuple[float, ...]) -> str:
    """The values as bars, the highest of them as the full one."""
    top = max(values, default=0.0)
    if top <= 0:
        return BARS[0] * len(values)
    return "".join(BARS[0 if value <= 0 else max(1, round(value / top * 8))] for value in values)
