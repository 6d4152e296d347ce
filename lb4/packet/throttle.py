"""Complaints about single packets, thinned out.

The rule: at most one line in EVERY seconds; what was left out is counted in the next one.
"""

from __future__ import annotations

from collections.abc import Callable

EVERY = 1.0


class Throttle:
    """A function that passes a text on, or not."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._say, self._clock = say, clock
        self._next = float("-inf")
        self._left_out = 0

    def __call__(self, text: str) -> None:
        """Says the text if it is time."""
        now = self._clock()
        if now < self._next:
            self._left_out += 1
            return
        more = f" (and {self._left_out} times more in between)" if self._left_out else ""
        self._next, self._left_out = now + EVERY, 0
        self._say(text + more)
