"""The turn of a round-robin: a number that goes on by one with every pick.

The rule: it belongs to a service, not to a process: workers that share memory take turns together, so that connections
spread over them meet the backends as if there were one worker. Two workers that pick in the same instant may take the
same turn, and no harm is done.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from zlib import crc32

WRAP = 1 << 32
CELLS = 4096
"""Turns that workers share; services have them by name, and may have one together by chance alone."""
SIZE = 4
"""Bytes of one."""


class Turn:
    """One service's turn, alone or in a cell of shared memory."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: MutableSequence[int] | memoryview[int] | None = None, at: int = 0) -> None:
        """cells: 32-bit numbers, of which the one at `at` is this turn; without them it is nobody else's."""
        self._cells = [0] if cells is None else cells
        self._at = at

    def take(self, count: int) -> int:
        """The turn among so many, 0 … count-1; the next one is the next pick's."""
        turn = self._cells[self._at]
        self._cells[self._at] = (turn + 1) % WRAP
        return turn % count


Turns = Callable[[str], Turn]
"""By a service's name, its turn."""


def own_turns(service: str) -> Turn:
    """A turn that no other process shares."""
    return Turn()


def turns_in(cells: memoryview[int]) -> Turns:
    """The turns in memory of CELLS cells."""
    return lambda service: Turn(cells, crc32(service.encode()) % CELLS)
