"""The loop of trace: sightings are paired, passages that are asked for are told.

The rule: it ends after so many passages or when the caller is interrupted, and leaves nothing behind.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from dataclasses import dataclass

from cli.trace.capture import Capture
from cli.trace.pairing import Pairing
from cli.trace.places import Places
from cli.trace.sighting import Passage
from lb4.address import Endpoint
from lb4.model import Balancer, IPNetwork

TICK = 0.2


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which passages are asked for; None is all. client: an address or prefix; backend: a port of None is any."""

    listener: str | None = None
    client: IPNetwork | None = None
    backend: Endpoint | None = None

    def has(self, passage: Passage) -> bool:
        """Whether a passage is asked for."""
        if self.listener is not None and passage.listener != self.listener:
            return False
        client, backend = ends_of(passage)
        if self.client is not None and (client is None or client.ip not in self.client):
            return False
        if self.backend is None:
            return True
        return backend is not None and self.backend in (backend, Endpoint(backend.ip))


def ends_of(passage: Passage) -> tuple[Endpoint | None, Endpoint | None]:
    """The client and the backend, as far as they were seen."""
    arrived, left = passage.arrived, passage.left
    if passage.direction == "request":
        return (arrived.source if arrived else None), (left.destination if left else None)
    return (left.destination if left else None), (arrived.source if arrived else None)


def watch(balancer: Balancer, wanted: Wanted, count: int | None) -> Iterator[Passage]:
    """The passages that are asked for as they happen, `count` of them or without end. Raises OSError."""
    places = Places(balancer, wanted.listener)
    pairing, capture, told = Pairing(places), Capture(places.addresses), 0
    try:
        while True:
            select.select([capture], [], [], TICK)
            for passage in _passages(capture, pairing):
                if wanted.has(passage):
                    yield passage
                    told += 1
                    if told == count:
                        return
    finally:
        capture.close()


def _passages(capture: Capture, pairing: Pairing) -> Iterator[Passage]:
    for sighting in capture.waiting():
        yield from pairing.seen(sighting)
    yield from pairing.idle(time.time())
