"""What the supervisor makes of the checks' findings: logged, published in time, brought into the kernel.

The rule: one place holds what is known of every backend; the kernel and the workers are told by `reprogram`, once for
all that is due.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from cli.run.log import event, remembered
from cli.run.publishing import Key, Publishing
from cli.run.ramping import Ramping
from lb4.address import AddressError, parse_endpoint
from lb4.model import Health, Service

Known = Mapping[Key, Health]
Steps = Mapping[Key, int]


class Findings:
    """The health of all checked backends."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        slow_start: Callable[[str], float],
        reprogram: Callable[[Known, Steps], None],
        changes: Counter[tuple[str, str]],
    ) -> None:
        """slow_start: of a service, in seconds. reprogram: called with what is known from now on, when something has
        changed. changes: counted by service and backend.
        """
        self._loop = loop
        self._slow_start = slow_start
        self._reprogram = reprogram
        self._changes = changes
        self._publishing = Publishing()
        self._ramping = Ramping()
        self._steps: Steps = {}
        self._checked: set[Key] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._free_at = 0.0

    def found(self, changes: Iterable[object]) -> None:
        """A worker reported changes: [service, address, health, why]. What has not that form is left out."""
        for change in changes:
            if isinstance(change, list) and len(change) == 4:
                with contextlib.suppress(ValueError, AddressError):
                    self._one(*map(str, change))
        if self._soon is None:
            self._soon = self._loop.call_later(max(0.0, self._free_at - self._loop.time()), self._publish)

    def _one(self, service: str, address: str, found: str, why: str) -> None:
        key, health = (service, parse_endpoint(address)), Health(found)
        if key not in self._checked:
            # It was said before the worker heard that this is checked no more.
            return
        before = self._publishing.found.get(key)
        self._publishing.observe(key, health)
        level = logging.WARNING if health is Health.DOWN else logging.INFO
        fields = {"service": service, "backend": address, "now": found, "why": why}
        if before is None and health is Health.UP:
            event(level, "health", **fields)
        else:
            self._changes[service, address] += 1
            remembered(level, "health", "health", **fields)

    def _publish(self) -> None:
        begun = self._loop.time()
        self._publish_at(begun)
        # When a thousand findings come at once, no more than a third of the time goes into publishing.
        ended = self._loop.time()
        self._soon, self._free_at = None, ended + 2 * (ended - begun)

    def _publish_at(self, now: float) -> None:
        recovered = {key for key, health in self._publishing.known.items() if health is Health.DOWN}
        ready, later = self._publishing.due(now)
        self._ramp(ready, recovered, now)
        steps, next_step = self._ramping.due(now)
        changed, self._steps = bool(ready) or steps != self._steps, steps
        for timer in (self._timer, self._soon):
            if timer is not None:
                timer.cancel()
        waits = [wait for wait in (later, next_step) if wait is not None]
        self._timer = self._loop.call_later(min(waits), self._publish) if waits else None
        if changed:
            self._reprogram(dict(self._publishing.known), steps)

    def _ramp(self, ready: Known, were_down: set[Key], now: float) -> None:
        for key, health in ready.items():
            if health is Health.DOWN:
                self._ramping.went_down(key)
            elif key in were_down:
                self._ramping.came_back(key, self._slow_start(key[0]), now)

    def still(self, known: Known, steps: Steps) -> tuple[Known, Steps]:
        """Of what was to be published a moment ago, that of the backends that are checked now."""
        checked = self._checked
        return {k: v for k, v in known.items() if k in checked}, {k: v for k, v in steps.items() if k in checked}

    def keep_only(self, services: Mapping[str, Service]) -> tuple[Known, Steps]:
        """Forgets the backends that are no longer checked; what is known of the others."""
        keys = {(s.name, b.endpoint) for s in services.values() if s.health is not None for b in s.backends}
        self._checked = keys
        self._publishing.keep_only(keys)
        self._ramping.keep_only(keys)
        self._steps = {key: step for key, step in self._steps.items() if key in keys}
        return dict(self._publishing.known), self._steps
