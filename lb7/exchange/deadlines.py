"""Deadlines: everything that waits the same number of seconds, in one queue with one timer.

The rule: whoever began to wait first ends first, so starting and stopping cost a dictionary entry and the loop has one
timer per queue, however many connections there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """Calls `expired` for each item that is not stopped within `seconds` of its start; 0 waits without end."""

    __slots__ = ("_expired", "_loop", "_timer", "_waiting", "seconds")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, expired: Callable[[T], None]) -> None:
        self._loop = loop
        self.seconds = seconds
        self._expired = expired
        self._waiting: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self, item: T, now: float) -> None:
        """The item waits from now (of time.monotonic), and did not wait before."""
        if not self.seconds:
            return
        self._waiting[item] = now
        if self._timer is None:
            self._timer = self._loop.call_later(self.seconds, self._due)

    def stop(self, item: T) -> None:
        """The item waits no more; one that did not wait is no error."""
        self._waiting.pop(item, None)

    def _due(self) -> None:
        self._timer = None
        now = monotonic()
        late = [item for item, since in overdue(self._waiting, now - self.seconds)]
        for item in late:
            del self._waiting[item]
        if self._waiting:
            oldest = next(iter(self._waiting.values()))
            self._timer = self._loop.call_later(max(oldest + self.seconds - now, 0.001), self._due)
        for item in late:
            self._expired(item)


def overdue(waiting: dict[T, float], limit: float) -> list[tuple[T, float]]:
    """The first entries that began at or before the limit; entries are in the order of their beginning."""
    found = []
    for item, since in waiting.items():
        if since > limit:
            break
        found.append((item, since))
    return found
