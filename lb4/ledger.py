"""What a door counts of the flows it let in: those that are open, in all and by client, and how fast new ones come.

The rule: the same questions whether one process counts for itself or several together; `None` stands for all clients.
When the next one is due is known by rate, so that what a slower rate left behind does not bind one that replaces it.
Times are seconds of one clock that all who count together share.
"""

from __future__ import annotations

import mmap
import os
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple, Protocol

from lb4 import affinity
from lb4.address import IPAddress
from lb4.model import Rate
from lb4.schedulers import turn

CLIENTS_MAX = 65536
CELLS = 1 << 16
"""Counters of each kind that workers share. A client has two; others share them with it by chance alone."""
COUNT, TIME = array("i").itemsize, array("d").itemsize


class Ledger(Protocol):
    """The counts of one listener."""

    def live(self, client: IPAddress | None) -> int:
        """Flows that are open."""
        ...

    def add(self, client: IPAddress | None, change: int) -> None:
        """One flow of a client more (1) or less (-1), which counts for all clients too; `None`: of nobody's."""
        ...

    def take(self, client: IPAddress | None, rate: Rate, now: float) -> bool:
        """Whether one more new flow fits into the rate now; if so, it is counted."""
        ...


def burst(rate: Rate) -> int:
    """How many may come at once, as the kernel modes have it: all of one period."""
    return max(1, rate.count)


def admits(due: float, rate: Rate, now: float) -> float | None:
    """The generic cell rate algorithm (ITU-T I.371 annex A): when the next one is due after this one, None if refused.

    due: when this one is due, as the last call said; in the past where none came for long.
    """
    each = rate.per / rate.count
    # A millionth more, since the sums of floating point numbers are not quite whole.
    if due > now + (burst(rate) - 1 + 1e-6) * each:
        return None
    return max(due, now) + each


class OwnLedger:
    """One process counts for itself, exactly."""

    def __init__(self) -> None:
        self._live = 0
        self._of_client: dict[IPAddress, int] = {}
        self._due: OrderedDict[tuple[IPAddress | None, Rate], float] = OrderedDict()

    def live(self, client: IPAddress | None) -> int:
        """See Ledger."""
        return self._live if client is None else self._of_client.get(client, 0)

    def add(self, client: IPAddress | None, change: int) -> None:
        """See Ledger."""
        self._live += change
        if client is None:
            return
        left = self._of_client.get(client, 0) + change
        if left > 0:
            self._of_client[client] = left
        else:
            self._of_client.pop(client, None)

    def take(self, client: IPAddress | None, rate: Rate, now: float) -> bool:
        """See Ledger. Of the clients, those that were away longest are forgotten."""
        key = client, rate
        due = admits(self._due.get(key, now), rate, now)
        if due is None:
            return False
        self._due[key] = due
        self._due.move_to_end(key)
        if len(self._due) > CLIENTS_MAX:
            self._due.popitem(last=False)
        return True


class SharedMemory:
    """What the workers of one kind count together, in memory that the supervisor made.

    Every worker has a row of counters that it alone changes, and reads all rows; when new flows are due is one row for
    all. So two workers that look in the same instant may both let one in: a limit is exceeded by at most one flow for
    each worker, for a moment.
    """

    def __init__(self, descriptor: int, workers: int, index: int) -> None:
        """index: of this worker, whose row starts anew."""
        self.size = memory_size(workers)
        view = memoryview(mmap.mmap(descriptor, self.size))
        self.rows = [view[n * CELLS * COUNT : (n + 1) * CELLS * COUNT].cast("i") for n in range(workers)]
        self.due = view[workers * CELLS * COUNT : CELLS * (workers * COUNT + TIME)].cast("d")
        turns = CELLS * (workers * COUNT + TIME)
        self.turns = view[turns : turns + turn.CELLS * turn.SIZE].cast("I")
        self.affinities = view[turns + turn.CELLS * turn.SIZE :]
        self.own = self.rows[index]
        for cell in range(CELLS):
            self.own[cell] = 0

    def ledger(self, name: str) -> SharedLedger:
        """The counts of one listener."""
        return SharedLedger(self, name)


def memory_size(workers: int) -> int:
    """Bytes of memory that so many workers share."""
    return CELLS * (workers * COUNT + TIME) + turn.CELLS * turn.SIZE + affinity.SIZE


def shared_memory(workers: int) -> int:
    """A descriptor of memory for so many workers, all zero."""
    descriptor = os.memfd_create("lbctl-counts", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, memory_size(workers))
    return descriptor


class Shared(NamedTuple):
    """What workers have together, by name: counts, turns, and which backend a client had."""

    ledgers: Callable[[str], Ledger] = lambda _: OwnLedger()
    turns: turn.Turns = turn.own_turns
    affinities: affinity.AffinitiesOf = affinity.own_affinities


ALONE = Shared()
"""One process has all of it for itself."""


def shared_with(index: int, told: Sequence[str]) -> Shared:
    """What worker `index` has together with the others.

    told: the worker's words on the command line, COUNTS and WORKERS, or none. COUNTS is the descriptor of the memory
    that so many WORKERS share; without one the worker is by itself.
    """
    if len(told) < 2 or int(told[0]) < 0:
        return ALONE
    memory = SharedMemory(int(told[0]), int(told[1]), index)
    return Shared(memory.ledger, turn.turns_in(memory.turns), affinity.affinities_in(memory.affinities))


class SharedLedger:
    """One listener's counts among those of all workers."""

    def __init__(self, memory: SharedMemory, name: str) -> None:
        self._memory = memory
        self._name = name.encode()
        self._all = self._cells_of(b"")

    def _cells(self, client: IPAddress | None) -> tuple[int, int]:
        return self._all if client is None else self._cells_of(client.packed)

    def _cells_of(self, packed: bytes) -> tuple[int, int]:
        digest = int.from_bytes(blake2b(packed + self._name, digest_size=8).digest())
        return digest % CELLS, (digest >> 32) % CELLS

    def live(self, client: IPAddress | None) -> int:
        """See Ledger; of the two counters the smaller one, with which fewer others are counted."""
        return min(sum(row[cell] for row in self._memory.rows) for cell in self._cells(client))

    def add(self, client: IPAddress | None, change: int) -> None:
        """See Ledger."""
        for one in {None, client}:
            for cell in set(self._cells(one)):
                self._memory.own[cell] += change

    def take(self, client: IPAddress | None, rate: Rate, now: float) -> bool:
        """See Ledger."""
        of = b"" if client is None else client.packed
        cells, times = self._cells_of(of + str(rate).encode()), self._memory.due
        due = admits(min(times[cell] for cell in cells), rate, now)
        if due is None:
            return False
        for cell in cells:
            times[cell] = max(times[cell], due)
        return True
