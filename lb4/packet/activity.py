"""How many flows each backend has, by conntrack's events: what least-connections goes by in the kernel modes.

The rule: a flow counts from its pick until conntrack says that it is over, and a pick that conntrack never tells of
counts for PICKED_SECONDS; `set_right` replaces all that was followed by what conntrack has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lb4.address import Endpoint
from lb4.conntrack.attribution import NO_LONGER_OPEN, Attribution
from lb4.conntrack.message import EventKind, FlowEvent
from lb4.flow import Flow
from lb4.model import Balancer, Protocol
from lb4.packet.keys import key_of

PICKED_SECONDS = 15.0
"""As long as TCP's first three retransmits of a SYN take (1, 2 and 4 seconds) and a little more."""

FlowKey = tuple[Protocol, bytes]
"""Protocol, and the key of the client's packets (lb4.packet.keys)."""
Place = tuple[str, Endpoint]
"""A service and a backend of it, as configured."""


class Activity:
    """The flows that count now. Times are seconds of the caller's clock."""

    def __init__(self, balancer: Balancer) -> None:
        self._attribution = Attribution(balancer)
        self._at: dict[FlowKey, Place] = {}
        self._picked: dict[FlowKey, float] = {}
        self._active: dict[str, dict[Endpoint, int]] = {}

    def __len__(self) -> int:
        return len(self._at)

    def active(self, service: str) -> Mapping[Endpoint, int]:
        """By backend of a service, its flows."""
        return self._active.get(service, {})

    def place_of(self, key: FlowKey) -> Place | None:
        """Where a flow that counts goes."""
        return self._at.get(key)

    def picked(self, key: FlowKey, place: Place, now: float) -> None:
        """A new flow was sent to a backend; or its first packet came again."""
        self._picked.pop(key, None)
        self._picked[key] = now + PICKED_SECONDS
        self._put(key, place)

    def forget_picks(self, now: float) -> None:
        """Picks that conntrack never told of are over."""
        while self._picked:
            key, deadline = next(iter(self._picked.items()))
            if deadline > now:
                return
            del self._picked[key]
            self._take(key)

    def heard(self, event: FlowEvent) -> None:
        """Conntrack told of a flow."""
        flow = event.flow
        key = _key(flow)
        if event.kind is EventKind.DESTROY or flow.state in NO_LONGER_OPEN:
            self._picked.pop(key, None)
            self._take(key)
        else:
            self._open(key, flow)

    def set_right(self, flows: Iterable[Flow], balancer: Balancer | None = None) -> None:
        """Starts over from all of conntrack's flows, for a new balancer where one is given; picks stay."""
        if balancer is not None:
            self._attribution = Attribution(balancer)
        self._at = {key: self._at[key] for key in self._picked if key in self._at}
        self._active = {}
        for service, endpoint in self._at.values():
            self._count(service, endpoint, 1)
        for flow in flows:
            if flow.state not in NO_LONGER_OPEN:
                self._open(_key(flow), flow)

    def _open(self, key: FlowKey, flow: Flow) -> None:
        """The event shows where the flow really goes: affinity may have overruled the pick."""
        known = self._at.get(key)
        if known is not None and known[1] == flow.backend:
            self._picked.pop(key, None)
            return
        owner = self._attribution.owner(flow)
        if owner is not None and owner.backend is not None:
            self._picked.pop(key, None)
            self._put(key, (owner.service.name, owner.backend.endpoint))

    def _put(self, key: FlowKey, place: Place) -> None:
        if self._at.get(key) != place:
            self._take(key)
            self._at[key] = place
            self._count(*place, 1)

    def _take(self, key: FlowKey) -> None:
        place = self._at.pop(key, None)
        if place is not None:
            self._count(*place, -1)

    def _count(self, service: str, endpoint: Endpoint, change: int) -> None:
        counts = self._active.setdefault(service, {})
        counts[endpoint] = counts.get(endpoint, 0) + change
        if not counts[endpoint]:
            del counts[endpoint]


def _key(flow: Flow) -> FlowKey:
    return flow.protocol, key_of(flow.client, flow.target)
