"""Slow start over time: which backends have come back, and which step of their weight each has reached.

The rule: pure; times are seconds of a clock that never jumps, given as arguments. A backend that was up when it was
first checked has not come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cli.run.publishing import QUIET, Key
from lb4.health.ramp import STEPS, step_of


@dataclass(frozen=True, slots=True)
class Recovery:
    """When a backend came back, and how many seconds its weight takes to be whole."""

    since: float
    slow_start: float

    def step(self, now: float) -> int:
        """The step it has reached."""
        return step_of(now - self.since, self.slow_start)

    def next(self, now: float) -> float:
        """Seconds until the next step; at least QUIET, so that a short slow start makes few changes."""
        reached = self.step(now)
        return max(QUIET, self.since + self.slow_start * (reached + 1) / STEPS - now)


@dataclass
class Ramping:
    """The backends that are recovering."""

    recovering: dict[Key, Recovery] = field(default_factory=dict)

    def came_back(self, key: Key, slow_start: float, now: float) -> None:
        """A backend is up that was down."""
        if slow_start > 0:
            self.recovering[key] = Recovery(now, slow_start)

    def went_down(self, key: Key) -> None:
        """A backend is down."""
        self.recovering.pop(key, None)

    def keep_only(self, keys: set[Key]) -> None:
        """Forgets the backends that are no longer checked."""
        for key in self.recovering.keys() - keys:
            del self.recovering[key]

    def due(self, now: float) -> tuple[Mapping[Key, int], float | None]:
        """The steps of those whose weight is not whole yet, and seconds until one has its next step, or None."""
        for key in [key for key, each in self.recovering.items() if each.step(now) >= STEPS]:
            del self.recovering[key]
        waits = [each.next(now) for each in self.recovering.values()]
        return {key: each.step(now) for key, each in self.recovering.items()}, min(waits, default=None)
