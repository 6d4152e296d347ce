"""What is known of a DNS name, what a new answer makes of it, and what that means for a service.

The rule: an address once learned stays until a good answer of its own family leaves it out: a name server that
fails, or denies a name it knew, takes nothing away. Pure: the time is an argument, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest

from lb4.address import FAMILIES, Endpoint, Family, IPAddress, family_of
from lb4.model import Backend, DnsBackend, Service

FLOOR = 5.0
CEILING = 3600.0
FAILED_CEILING = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one lookup of both families found.

    addresses: of each family that answered, maybe none. ttl in seconds. failure: why a family, or all, did not.
    """

    addresses: Mapping[Family, tuple[IPAddress, ...]]
    ttl: float
    failure: str = ""

    @property
    def found(self) -> bool:
        """Whether there is an address at all."""
        return any(self.addresses.values())


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a name. due: when it is looked up again. failures: in a row. failure: the last one's reason."""

    addresses: tuple[IPAddress, ...] = ()
    due: float = 0.0
    failures: int = 0
    failure: str = ""


def learned(known: Known, answer: Answer, now: float, floor: float = FLOOR) -> Known:
    """What is known after an answer; floor: the shortest time between two lookups."""
    failures = known.failures + 1 if answer.failure or not answer.found else 0
    kept = tuple(_merged(known, answer)) if answer.found else known.addresses
    reason = answer.failure or ("" if answer.found else "has no address")
    return Known(in_order(kept), now + wait(answer.ttl, failures, floor), failures, reason)


def _merged(known: Known, answer: Answer) -> Iterable[IPAddress]:
    for family in FAMILIES:
        if family in answer.addresses:
            yield from answer.addresses[family]
        else:
            yield from (ip for ip in known.addresses if family_of(ip) == family)


def wait(ttl: float, failures: int, floor: float) -> float:
    """Seconds until the next lookup: the TTL within bounds; after failures the floor, doubled up to a minute."""
    if failures:
        return min(max(floor, FAILED_CEILING), floor * 2.0 ** min(failures - 1, 16))
    return min(max(ttl, floor), max(floor, CEILING))


def in_order(addresses: Iterable[IPAddress]) -> tuple[IPAddress, ...]:
    """Each once, IPv4 first, by number: name servers turn their answers around, and that must change nothing."""
    return tuple(sorted(set(addresses), key=lambda ip: (ip.version, int(ip))))


def names_of(services: Iterable[Service]) -> tuple[str, ...]:
    """The names that services have backends by, each once."""
    return tuple(dict.fromkeys(name.name for service in services for name in service.names))


def with_addresses(service: Service, addresses: Mapping[str, tuple[IPAddress, ...]]) -> Service:
    """The service with a backend for each address of each of its names, after those that were written as addresses.

    What was known of a backend that is still there (health, admin state) stays. An address of two names, or one that
    is also written, is one backend.
    """
    before = {backend.endpoint: backend for backend in service.backends}
    made = {backend.endpoint: backend for backend in service.backends if not backend.name}
    found = [[(name, ip) for ip in addresses.get(name.name, ())] for name in service.names]
    # The first address of every name, then the second: names take turns, however many addresses each has.
    for name, ip in (pair for turn in zip_longest(*found) for pair in turn if pair is not None):
        endpoint = Endpoint(ip, name.port)
        made.setdefault(endpoint, _backend(name, endpoint, before.get(endpoint)))
    return replace(service, backends=tuple(made.values()))


def _backend(name: DnsBackend, endpoint: Endpoint, before: Backend | None) -> Backend:
    if before is not None:
        return before
    return Backend(endpoint=endpoint, weight=name.weight, backup=name.backup, name=name.name)
