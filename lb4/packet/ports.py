"""Source ports: which the balancer uses towards a backend, and when one may be used again.

The rule: a port is out once at a time for one pair of source address and backend; of those given back the one that
rested longest comes first.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import gcd

FIRST = 10000
LAST = 32767
"""Below Linux's own range of local ports (32768-60999) and below RFC 6335's dynamic ports (49152-65535)."""


@dataclass(frozen=True, slots=True)
class PortRange:
    """The ports first to last, both included."""

    first: int = FIRST
    last: int = LAST

    @property
    def size(self) -> int:
        """How many ports it has."""
        return self.last - self.first + 1

    def part(self, index: int, parts: int) -> PortRange:
        """One of so many equal ranges it is cut into; what does not divide is left out."""
        each = self.size // parts
        return PortRange(self.first + index * each, self.first + (index + 1) * each - 1)


class Ports:
    """The ports of one source address towards one backend."""

    __slots__ = ("_early", "_next", "_offset", "_range", "_returned", "_stride")

    def __init__(self, ports: PortRange, seed: int) -> None:
        """seed: a number that outsiders do not know; it decides in which order fresh ports come."""
        self._range = ports
        self._offset = seed % ports.size
        self._stride = _coprime(1 + seed // ports.size % ports.size, ports.size)
        self._next = 0
        self._early: set[int] = set()
        self._returned: deque[int] = deque()

    def take(self) -> int | None:
        """A port that nobody has, None where all are out."""
        size = self._range.size
        while self._next < size:
            port = self._range.first + (self._offset + self._next * self._stride) % size
            self._next += 1
            if port not in self._early:
                return port
            self._early.discard(port)
        return self._returned.popleft() if self._returned else None

    def claim(self, port: int) -> bool:
        """Takes this very port (of a flow that lived before us); False where it is out or no port of the range."""
        if not self._range.first <= port <= self._range.last or port in self._early:
            return False
        self._early.add(port)
        return True

    def give_back(self, port: int) -> None:
        """The port's flow is gone."""
        self._returned.append(port)


def _coprime(start: int, size: int) -> int:
    while gcd(start, size) != 1:
        start += 1
    return start
