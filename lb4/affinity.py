"""Affinity: which backend a client had, for as long as it keeps coming, as one process or several together know it.

The rule: no clock in it (`now` is an argument, in seconds, of one clock for all) and no more than `limit` clients; the
one that was away longest goes first. In shared memory a client has two places, and takes the one whose owner was away
longer; two workers that write in the same instant may leave an entry that no backend has, which is as good as none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from lb4.address import Endpoint

LIMIT = 1 << 20
PLACES = 1 << 17
"""Clients that workers remember together, of all services."""
NUMBERS, NUMBER = 4, 8
"""A place has so many numbers of so many bytes: who the client is, the halves of the address, the rest."""
SIZE = PLACES * (NUMBERS * NUMBER + 8)
"""Bytes of memory that workers share: the places, and until when each is good."""
HALF = (1 << 64) - 1


class Affinities(Protocol):
    """The backends of a service's clients."""

    def backend_of(self, client: bytes, now: float) -> Endpoint | None:
        """The backend the client had, or None. Looking does not prolong it."""
        ...

    def remember(self, client: bytes, backend: Endpoint, now: float) -> None:
        """The client has this backend from now on."""
        ...


AffinitiesOf = Callable[[str, float], Affinities]
"""By a service's name and the seconds that a client is remembered after it came last."""


class AffinityTable:
    """Backends by client key, each entry alive for `timeout` seconds after its last use."""

    def __init__(self, timeout: float, limit: int = LIMIT) -> None:
        """timeout in seconds; limit: the most clients remembered."""
        self._timeout = timeout
        self._limit = limit
        self._entries: OrderedDict[bytes, tuple[Endpoint, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def backend_of(self, client: bytes, now: float) -> Endpoint | None:
        """The backend the client had, or None. Looking does not prolong it."""
        entry = self._entries.get(client)
        if entry is None or entry[1] <= now:
            return None
        return entry[0]

    def remember(self, client: bytes, backend: Endpoint, now: float) -> None:
        """The client has this backend from now on."""
        self._entries[client] = backend, now + self._timeout
        self._entries.move_to_end(client)
        while self._entries and (len(self._entries) > self._limit or self._oldest_expired(now)):
            self._entries.popitem(last=False)

    def _oldest_expired(self, now: float) -> bool:
        return next(iter(self._entries.values()))[1] <= now

    def forget(self, backend: Endpoint) -> None:
        """No client has this backend any more."""
        for client in [client for client, (held, _) in self._entries.items() if held == backend]:
            del self._entries[client]


class SharedAffinityTable:
    """One service's clients in memory that several workers share."""

    def __init__(self, memory: memoryview, service: str, timeout: float) -> None:
        """memory: SIZE bytes, zero at first; timeout in seconds."""
        self._numbers = memory[: PLACES * NUMBERS * NUMBER].cast("Q")
        self._until = memory[PLACES * NUMBERS * NUMBER : SIZE].cast("d")
        self._service = service.encode()
        self._timeout = timeout

    def backend_of(self, client: bytes, now: float) -> Endpoint | None:
        """See Affinities."""
        who, places = self._places(client)
        place = next((place for place in places if self._numbers[place * NUMBERS] == who), None)
        if place is None or self._until[place] <= now:
            return None
        _, high, low, rest = self._numbers[place * NUMBERS : (place + 1) * NUMBERS]
        ip = IPv6Address(high << 64 | low) if rest >> 32 == 6 else IPv4Address(low & 0xFFFFFFFF)
        return Endpoint(ip, rest & 0xFFFF or None)

    def remember(self, client: bytes, backend: Endpoint, now: float) -> None:
        """See Affinities."""
        who, places = self._places(client)
        own = [place for place in places if self._numbers[place * NUMBERS] == who]
        place = own[0] if own else min(places, key=self._until.__getitem__)
        ip = int(backend.ip)
        first = place * NUMBERS
        self._numbers[first], self._numbers[first + 1] = who, ip >> 64
        self._numbers[first + 2] = ip & HALF
        self._numbers[first + 3] = backend.ip.version << 32 | (backend.port or 0)
        self._until[place] = now + self._timeout

    def _places(self, client: bytes) -> tuple[int, tuple[int, int]]:
        """Who the client is as a number, and its places."""
        digest = blake2b(self._service + b"\0" + client, digest_size=16).digest()
        who, where = int.from_bytes(digest[:8]), int.from_bytes(digest[8:])
        return who, (where % PLACES, (where >> 32) % PLACES)


def own_affinities(service: str, timeout: float) -> Affinities:
    """A table that no other process shares."""
    return AffinityTable(timeout)


def affinities_in(memory: memoryview) -> AffinitiesOf:
    """The tables in memory of SIZE bytes."""
    return lambda service, timeout: SharedAffinityTable(memory, service, timeout)
