"""When a change of health is made known: at once, but for one backend never more than once in a second.

The rule: pure; times are seconds of a clock that never jumps, given as arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lb4.address import Endpoint
from lb4.model import Health

Key = tuple[str, Endpoint]
"""A service and a backend of it."""

QUIET = 1.0
"""Seconds between two published changes of one backend: a flapping one costs one kernel change a second."""


@dataclass
class Publishing:
    """What was found of every backend, and what of it is known to the others."""

    found: dict[Key, Health] = field(default_factory=dict)
    known: dict[Key, Health] = field(default_factory=dict)
    published_at: dict[Key, float] = field(default_factory=dict)

    def observe(self, key: Key, health: Health) -> None:
        """A check found this."""
        self.found[key] = health

    def due(self, now: float) -> tuple[Mapping[Key, Health], float | None]:
        """What is to be published now, which counts as known from here on, and seconds until there is more, or None."""
        changed = {key: health for key, health in self.found.items() if self.known.get(key) is not health}
        waits = {key: self.published_at.get(key, -QUIET) + QUIET - now for key in changed}
        ready = {key: health for key, health in changed.items() if waits[key] <= 0}
        for key, health in ready.items():
            self.known[key] = health
            self.published_at[key] = now
        later = [wait for wait in waits.values() if wait > 0]
        return ready, min(later) if later else None

    def keep_only(self, keys: set[Key]) -> None:
        """Forgets the backends that are no longer checked."""
        for book in (self.found, self.known, self.published_at):
            for key in book.keys() - keys:
                del book[key]
