"""The decision about a new flow: at which listener it arrived, whether it may come in, which backend gets it.

The rule: candidates, addresses and a clock in, a Choice or a Refused out; the scheduler is asked once per flow at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from lb4.address import FAMILIES, Bind, Endpoint, Family, IPAddress
from lb4.admission import Admission, Refused
from lb4.affinity import Affinities, AffinitiesOf, own_affinities
from lb4.ledger import Ledger, OwnLedger
from lb4.model import Backend, Balancer, Listener, Mode, Service

Pick = Callable[[tuple[Backend, ...], Endpoint, Endpoint, Mapping[Endpoint, int]], Backend | None]
"""A scheduler: candidates, client, target, active flows by backend → the backend, None where there is none."""

Picks = Callable[[Service], Pick]


class SchedulerFailed(Exception):
    """The user's own scheduler raised, or returned what is no candidate: the message says which and what."""


class Choice(NamedTuple):
    """Where a new flow goes: the backend as configured, and the address and port its packets go to."""

    listener: Listener
    backend: Backend
    to: Endpoint


class Decisions:
    """Answers for all packet listeners of one configuration."""

    def __init__(
        self,
        balancer: Balancer,
        picks: Picks,
        affinities: AffinitiesOf = own_affinities,
        ledgers: Callable[[str], Ledger] = lambda _: OwnLedger(),
    ) -> None:
        """ledgers: by a listener's name, where its flows are counted."""
        self.balancer = balancer
        self.admissions: dict[str, Admission] = {}
        self._exact: dict[tuple[int, IPAddress, int], Listener] = {}
        self._ranges: list[tuple[int, Bind, Listener]] = []
        self._picks: dict[str, Pick] = {}
        self._candidates: dict[tuple[str, Family], tuple[Backend, ...]] = {}
        self._affinity: dict[str, Affinities] = {}
        for listener in balancer.listeners.values():
            if listener.mode is Mode.PACKET:
                self.admissions[listener.name] = Admission(listener, ledgers(listener.name))
                self._add(listener, picks, affinities)

    def _add(self, listener: Listener, picks: Picks, affinities: AffinitiesOf) -> None:
        number = NUMBERS[listener.protocol]
        service = self.balancer.services[listener.service]
        if service.name not in self._picks:
            self._picks[service.name] = picks(service)
            if service.affinity is not None:
                self._affinity[service.name] = affinities(service.name, service.affinity.timeout)
            self._candidates.update({(service.name, family): service.eligible(family) for family in FAMILIES})
        for bind in listener.binds:
            if bind.is_range or bind.is_wildcard:
                self._ranges.append((number, bind, listener))
            else:
                self._exact[number, bind.ip, bind.first] = listener

    def listener_of(self, protocol: int, target: Endpoint) -> Listener | None:
        """The listener that has this address and port."""
        port = target.port or 0
        found = self._exact.get((protocol, target.ip, port))
        return found or next(
            (ln for p, bind, ln in self._ranges if p == protocol and _has(bind, target.ip, port)), None
        )

    def choose(
        self, listener: Listener, client: Endpoint, target: Endpoint, active: Mapping[Endpoint, int], now: float
    ) -> Choice | Refused:
        """The backend of a new flow. Raises SchedulerFailed."""
        refusal = self.admissions[listener.name].refusal(client.ip, now)
        if refusal is not None:
            return refusal
        service = self.balancer.services[listener.service]
        candidates = self._candidates[service.name, target.family]
        backend = self._kept(service, candidates, client.ip, now) or self._picked(
            service, candidates, client, target, active
        )
        if backend is None:
            return Refused.NO_BACKEND
        self._keep(service, client.ip, backend, now)
        port = target.port if backend.endpoint.port is None else backend.endpoint.port
        return Choice(listener, backend, Endpoint(backend.endpoint.ip, port))

    def _picked(
        self,
        service: Service,
        candidates: tuple[Backend, ...],
        client: Endpoint,
        target: Endpoint,
        active: Mapping[Endpoint, int],
    ) -> Backend | None:
        return self._picks[service.name](candidates, client, target, active) if candidates else None

    def _kept(self, service: Service, candidates: tuple[Backend, ...], client: IPAddress, now: float) -> Backend | None:
        """The backend that the client had, as long as new flows may go to it: no backup once others are up again."""
        if service.affinity is None:
            return None
        endpoint = self._affinity[service.name].backend_of(client.packed, now)
        if endpoint is None:
            return None
        return next((b for b in candidates if b.endpoint == endpoint), None)

    def _keep(self, service: Service, client: IPAddress, backend: Backend, now: float) -> None:
        if service.affinity is not None:
            self._affinity[service.name].remember(client.packed, backend.endpoint, now)

    def inherit(self, before: Decisions) -> None:
        """Takes over affinities and turns of a configuration that this one replaces."""
        services = before.balancer.services
        for name in self._affinity.keys() & before._affinity.keys():
            if services[name].affinity == self.balancer.services[name].affinity:
                self._affinity[name] = before._affinity[name]
        for name in self._picks.keys() & before._picks.keys():
            if services[name].scheduler == self.balancer.services[name].scheduler:
                self._picks[name] = before._picks[name]


NUMBERS: Mapping[str, int] = {"tcp": 6, "udp": 17}
"""By a listener's protocol, the number in the IP header."""


def _has(bind: Bind, ip: IPAddress, port: int) -> bool:
    same = bind.ip == ip or (bind.is_wildcard and bind.ip.version == ip.version)
    return same and bind.first <= port <= bind.last
