"""A scheduler in a process: which backend a new flow or request gets, and which ones are next should that one fail.

The rule: the first candidate is the scheduler's pick, every further one is another backend, each once. A client's hash
leads to the same backend here as in the kernel. What is random, who the client is and how busy the backends are, are
arguments; only the turn of the round-robin is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lb4.address import Family
from lb4.model import Backend, SchedulerKind, Service
from lb4.schedulers.jhash import scaled
from lb4.schedulers.slots import BY_CLIENT, seed, slots
from lb4.schedulers.turn import Turn

Candidates = tuple[Backend, ...]
PythonScheduler = Callable[[Candidates, bytes], Backend]
"""A user's own: called with the candidates and the client's key."""


def picker_of(service: Service, family: Family | None = None, turn: Turn | None = None) -> Picker:
    """A service's picker over the backends that may get new flows, of one family or of both."""
    return Picker(service.scheduler.kind, service.eligible(family), turn, seed(service))


class Picker:
    """The turns of the backends that may get new flows. `backends` may be empty; then there are no candidates.

    A new one is made when a backend's weight, health or admin state changes; making it costs as much as its slots.
    A `python` scheduler is not run here: as in the kernel, its backends take turns.
    """

    __slots__ = ("_kind", "_places", "_seed", "backends", "turn")

    def __init__(
        self, kind: SchedulerKind, backends: Sequence[Backend], turn: Turn | None = None, hash_seed: int = 1
    ) -> None:
        """turn: the service's, which an earlier picker of it had, so that a change does not start over."""
        self.backends = tuple(backends)
        self.turn = turn or Turn()
        self._kind = kind
        self._seed = hash_seed
        place = {id(backend): index for index, backend in enumerate(self.backends)}
        self._places = [place[id(backend)] for backend in slots(kind, self.backends)]

    def place(self, client: bytes, active: Sequence[int], random: float) -> int:
        """The index in `backends` of the pick; there is at least one.

        client: what the hashing schedulers hash: an address as `ip.packed`, as the kernel does, or any other bytes.
        active: flows or requests in flight, by index. random: in [0, 1).
        """
        return self._pick(self._slot(client, random), active)

    def candidates(self, client: bytes, active: Sequence[int], random: float) -> Iterator[Backend]:
        """The pick, then every other backend once: those whose slots come next, or by load where load decides."""
        if not self._places:
            return
        slot = self._slot(client, random)
        first = self._pick(slot, active)
        yield self.backends[first]
        for place in self._others(first, slot, active):
            yield self.backends[place]

    def _slot(self, client: bytes, random: float) -> int:
        """The slot that the turn, the client or chance names."""
        if self._kind is SchedulerKind.RANDOM:
            return int(random * len(self._places))
        if self._kind in BY_CLIENT:
            return scaled(client, self._seed, len(self._places))
        return self.turn.take(len(self._places))

    def _pick(self, slot: int, active: Sequence[int]) -> int:
        if self._kind is not SchedulerKind.LEAST_CONNECTIONS:
            return self._places[slot]
        return min(self._rotated(slot), key=lambda place: active[place] / self.backends[place].weight)

    def _rotated(self, slot: int) -> tuple[int, ...]:
        """All places, the one whose turn it is first: of places with even loads the first wins."""
        start = self._places[slot]
        return (*range(start, len(self.backends)), *range(start))

    def _others(self, first: int, slot: int, active: Sequence[int]) -> Iterator[int]:
        if self._kind is SchedulerKind.LEAST_CONNECTIONS:
            others = (place for place in self._rotated(slot) if place != first)
            yield from sorted(others, key=lambda place: active[place] / self.backends[place].weight)
            return
        seen = {first}
        for place in (*self._places[slot + 1 :], *self._places[:slot]):
            if place not in seen:
                seen.add(place)
                yield place
