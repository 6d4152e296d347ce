"""Whose flow it is: which listener it came by, of which service, at which backend; and which flows an apply ends.

The rule: a flow is a listener's when its target is one of the listener's binds and conntrack translated it; its
backend is the one its answers come from. Nothing else of a flow decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lb4.address import Endpoint, Family
from lb4.flow import Flow
from lb4.model import KERNEL_MODES, AdminState, Backend, Balancer, Health, Listener, Protocol, Service

NO_LONGER_OPEN = frozenset({"TIME_WAIT", "CLOSE", "LAST_ACK", "NONE"})
"""States of a TCP flow that carries no data any more."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a flow is; backend None: the service has none of that address (any more)."""

    listener: Listener
    service: Service
    backend: Backend | None


@dataclass(slots=True)
class Attribution:
    """Finds the owners of flows among one balancer's listeners that the kernel forwards."""

    balancer: Balancer
    _exact: dict[tuple[Protocol, Endpoint], Listener] = field(default_factory=dict, init=False)
    _anywhere: dict[tuple[Protocol, Family, int], Listener] = field(default_factory=dict, init=False)
    _ranges: list[Listener] = field(default_factory=list, init=False)
    _backends: dict[str, dict[Endpoint, Backend]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for listener in self.balancer.listeners.values():
            if listener.mode in KERNEL_MODES:
                self._index(listener)

    def _index(self, listener: Listener) -> None:
        for bind in listener.binds:
            if bind.is_range:
                self._ranges.append(listener)
            elif bind.is_wildcard:
                self._anywhere[listener.protocol, bind.family, bind.first] = listener
            else:
                self._exact[listener.protocol, Endpoint(bind.ip, bind.first)] = listener

    def listener(self, protocol: Protocol, target: Endpoint) -> Listener | None:
        """The listener whose clients arrive at the target: the one of that very address before one of any."""
        found = self._exact.get((protocol, target)) or self._of_range(protocol, target)
        return found or self._anywhere.get((protocol, target.family, target.port or 0))

    def _of_range(self, protocol: Protocol, target: Endpoint) -> Listener | None:
        port = target.port or 0
        for listener in self._ranges:
            for bind in listener.binds if listener.protocol is protocol else ():
                here = bind.ip == target.ip or (bind.is_wildcard and bind.family == target.family)
                if here and bind.first <= port <= bind.last:
                    return listener
        return None

    def backend(self, service: Service, at: Endpoint, target_port: int | None) -> Backend | None:
        """The service's backend at an address; one without a port is at the port the client asked for."""
        known = self._backends.get(service.name)
        if known is None:
            known = self._backends[service.name] = {b.endpoint: b for b in service.backends}
        found = known.get(at)
        return known.get(Endpoint(at.ip)) if found is None and at.port == target_port else found

    def owner(self, flow: Flow) -> Owner | None:
        """Whose the flow is, None if it is none of ours."""
        listener = self.listener(flow.protocol, flow.target)
        if listener is None or flow.backend == flow.target:
            return None
        service = self.balancer.services[listener.service]
        return Owner(listener, service, self.backend(service, flow.backend, flow.target.port))


def is_open(flow: Flow) -> bool:
    """Whether the flow counts as active: TCP that is not over, UDP as long as it is tracked."""
    return flow.state not in NO_LONGER_OPEN


def is_drained(backend: Backend) -> bool:
    """Whether the operator let its flows run out: they live on when it is removed."""
    return backend.admin is AdminState.DRAINING or backend.weight == 0


def is_stale(flow: Flow, before: Attribution, after: Attribution) -> bool:
    """Whether the flow is to end when `after` has come into force in place of `before`.

    So do those of listeners that are gone; UDP to a backend that is gone or down, so that its client moves at once;
    TCP to a backend that is gone, unless it was drained; and all to a backend that is disabled.
    """
    now, was = after.owner(flow), before.owner(flow)
    if now is None:
        return was is not None
    if now.backend is not None:
        return now.backend.admin is AdminState.DISABLED or (
            flow.protocol is Protocol.UDP and is_down(now.service, now.backend)
        )
    if flow.protocol is Protocol.UDP:
        return True
    return was is not None and was.backend is not None and not is_drained(was.backend)


def is_down(service: Service, backend: Backend) -> bool:
    """Whether checks found a backend down, and it is not used all the same (see panic_threshold)."""
    if backend.health is not Health.DOWN:
        return False
    return all(b.endpoint != backend.endpoint for b in service.eligible(backend.endpoint.family))
