"""The choice of a terminated service: affinity first, then the scheduler, then everybody else.

The rule: no clock and no sockets; what is random comes from the generator it was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

from lb4.address import Endpoint
from lb4.affinity import Affinities, AffinitiesOf, own_affinities
from lb4.model import AdminState, Backend, Service
from lb4.schedulers.picker import picker_of
from lb4.schedulers.turn import Turn


class Choice:
    """The candidates of one service for one new flow after the other."""

    def __init__(
        self, service: Service, random: Random, affinities: AffinitiesOf = own_affinities, turn: Turn | None = None
    ) -> None:
        """affinities and turn: those of all its workers together."""
        self.service = service
        self.known = frozenset(b.endpoint for b in service.backends)
        self.enabled = frozenset(b.endpoint for b in service.backends if b.admin is AdminState.ENABLED)
        self._random = random
        self._affinities = affinities
        self._affinity: Affinities | None = None
        if service.affinity is not None:
            self._affinity = affinities(service.name, service.affinity.timeout)
        self._picker = picker_of(service, turn=turn)

    def changed(self, service: Service) -> Choice:
        """The same choice for the service as it is now."""
        changed = Choice(service, self._random, self._affinities, self._picker.turn)
        if service.affinity == self.service.affinity:
            changed._affinity = self._affinity
        return changed

    def candidates(self, client: Endpoint, now: float, active: Mapping[Endpoint, int]) -> Iterator[Backend]:
        """The backends to try, in order; taking one is remembered as the client's."""
        backends = self._picker.backends
        counts = [active.get(backend.endpoint, 0) for backend in backends]
        key = client.ip.packed
        kept = self._affinity.backend_of(key, now) if self._affinity is not None else None
        first = next((backend for backend in backends if backend.endpoint == kept), None)
        if first is not None:
            yield self._taken(first, key, now)
        for backend in self._picker.candidates(key, counts, self._random.random()):
            if backend is not first:
                yield self._taken(backend, key, now)

    def _taken(self, backend: Backend, client: bytes, now: float) -> Backend:
        if self._affinity is not None:
            self._affinity.remember(client, backend.endpoint, now)
        return backend
