"""When the source ports towards a backend will be used up, from how their use grew in the last minutes.

The rule: pure; the time is an argument, in seconds of a clock that never jumps.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)

WINDOW = 300.0
"""Seconds that the rate is taken over."""


@dataclass
class Forecast:
    """What was used at earlier scrapes."""

    limit: int
    _seen: deque[tuple[float, Mapping[Any, int]]] = field(default_factory=deque)

    def observe(self, used: Mapping[Key, int], now: float) -> Mapping[Key, float]:
        """Seconds until each is used up; infinite where it does not grow, or was seen but once."""
        while self._seen and now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        seconds = {key: self._left(key, count, now) for key, count in used.items()}
        if not self._seen or now > self._seen[-1][0]:
            self._seen.append((now, used))
        return seconds

    def _left(self, key: Hashable, used: int, now: float) -> float:
        if used >= self.limit:
            return 0.0
        if not self._seen:
            return math.inf
        since, before = self._seen[0]
        grown = used - before.get(key, 0)
        return math.inf if grown <= 0 or now <= since else (self.limit - used) * (now - since) / grown
