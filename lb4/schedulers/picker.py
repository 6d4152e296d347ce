"""A scheduler in a process: which backend a new flow or request gets, and which ones are next should that one fail.

The rule: the first candidate is the scheduler's pick, every further one is another backend. What is random, who the
client is and how busy the backends are, are arguments; only the turn of the round-robin is remembered.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence

from lb4.model import Backend, SchedulerKind
from lb4.schedulers.slots import slots

Candidates = tuple[Backend, ...]
PythonScheduler = Callable[[Candidates, bytes], Backend]
"""A user's own: called with the candidates and the client's key."""


class Picker:
    """The turns of the backends that may get new flows. `backends` may be empty; then there are no candidates."""

    __slots__ = ("_kind", "_places", "_turn", "backends")

    def __init__(self, kind: SchedulerKind, backends: Sequence[Backend], turn: int = 0) -> None:
        """turn: where an earlier picker of the same service stood, so that a change does not start over."""
        self.backends = tuple(backends)
        self._kind = kind
        place = {id(backend): index for index, backend in enumerate(self.backends)}
        self._places = [place[id(backend)] for backend in slots(kind, self.backends)] if backends else []
        self._turn = turn % len(self._places) if self._places else 0

    @property
    def turn(self) -> int:
        """Where the round-robin stands."""
        return self._turn

    def place(self, client: bytes, active: Sequence[int], random: float) -> int:
        """The index in `backends` of the pick; there is at least one.

        client: what the hashing schedulers hash. active: flows or requests in flight, by index. random: in [0, 1).
        """
        kind, places = self._kind, self._places
        if kind is SchedulerKind.RANDOM:
            return places[int(random * len(places))]
        if kind is SchedulerKind.SOURCE_HASH or kind is SchedulerKind.MAGLEV:
            return places[zlib.crc32(client) % len(places)]
        turn = self._turn
        self._turn = turn + 1 if turn + 1 < len(places) else 0
        return self._least(turn, active) if kind is SchedulerKind.LEAST_CONNECTIONS else places[turn]

    def _least(self, turn: int, active: Sequence[int]) -> int:
        """The index with the fewest in flight per weight; of several the next in turn."""
        backends, count = self.backends, len(self.backends)
        start = self._places[turn]
        order = (*range(start, count), *range(start))
        return min(order, key=lambda index: (active[index] + 1) / backends[index].weight)

    def candidates(self, client: bytes, active: Sequence[int], random: float) -> Iterator[Backend]:
        """The pick, then every other backend once."""
        if self.backends:
            first = self.place(client, active, random)
            yield self.backends[first]
            yield from self.backends[first + 1 :]
            yield from self.backends[:first]
