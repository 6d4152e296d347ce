"""Slots for the kernel: which backend each of the numbers stands for that the kernel draws.

The rule: the kernel draws a number from 0 to N-1, by turns, at random or by a hash of the client, and slot i has the
i-th backend. Schedulers that need a process fall back to turns.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from lb4.model import Backend, SchedulerKind, Service
from lb4.schedulers import maglev, smooth

BY_CLIENT = frozenset({SchedulerKind.SOURCE_HASH, SchedulerKind.MAGLEV})


def slots(kind: SchedulerKind, backends: Sequence[Backend]) -> list[Backend]:
    """The backend of each slot, for a scheduler and the backends that may get new flows."""
    if kind in BY_CLIENT:
        backends = sorted(backends, key=lambda backend: (backend.endpoint.ip.version, backend.endpoint))
    weights = [backend.weight for backend in backends]
    if kind is SchedulerKind.MAGLEV:
        places = maglev.table([str(backend) for backend in backends], weights)
    elif kind in (SchedulerKind.RANDOM, SchedulerKind.SOURCE_HASH):
        places = smooth.grouped(weights)
    else:
        places = smooth.cycle(weights)
    return [backends[place] for place in places]


def seed(service: Service) -> int:
    """The seed of a service's hash of clients: by its name, so that all its listeners send a client the same way."""
    return zlib.crc32(service.name.encode()) or 1
