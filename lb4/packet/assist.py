"""The first packet of a flow: the hook picks the backend and says so by a mark, the kernel translates by the mark.

The rule: a packet that nothing can be picked for goes on unmarked and the kernel picks; a first packet that comes
again (a SYN retransmit) keeps its backend and is not counted again.
"""

from __future__ import annotations

from collections.abc import Callable

from lb4.address import FAMILIES, Family
from lb4.compile import marks
from lb4.conntrack.attribution import Attribution
from lb4.conntrack.message import PROTOCOLS
from lb4.model import Backend, Balancer
from lb4.packet.activity import Activity, FlowKey, Place
from lb4.packet.decision import Pick, Picks, SchedulerFailed
from lb4.packet.keys import destination_of, source_of
from lb4.packet.parse import parse


class FirstPackets:
    """Picks for all listeners of the kernel modes whose scheduler needs a process."""

    def __init__(self, balancer: Balancer, picks: Picks, complain: Callable[[str], None]) -> None:
        """complain: told what went wrong in a user's own scheduler."""
        self.activity = Activity(balancer)
        self._picks, self._complain = picks, complain
        self._pick_of: dict[str, Pick] = {}
        self._use(balancer)

    def _use(self, balancer: Balancer) -> None:
        self._attribution = Attribution(balancer)
        self._candidates: dict[tuple[str, Family], tuple[Backend, ...]] = {}
        self._places: dict[Place, int] = {}
        for service in balancer.services.values():
            for family in FAMILIES:
                self._candidates[service.name, family] = service.eligible(family)
                for place, backend in enumerate(service.of_family(family)):
                    self._places[service.name, backend.endpoint] = place

    def reconfigure(self, balancer: Balancer) -> None:
        """Goes on with another configuration; the counts are to be set right then."""
        was, now = self._attribution.balancer.services, balancer.services
        same = {name for name in was.keys() & now.keys() if was[name].scheduler == now[name].scheduler}
        self._pick_of = {name: pick for name, pick in self._pick_of.items() if name in same}
        self._use(balancer)

    def mark(self, data: bytes, mark: int, now: float) -> int | None:
        """The mark that the packet shall carry on with, None to leave it as it is.

        data: the packet's headers at least, from the IP header.
        """
        header = parse(data)
        if header is None or header.offset or header.protocol not in PROTOCOLS:
            return None
        key = PROTOCOLS[header.protocol], header.key
        place = self.activity.place_of(key) or self._picked(key)
        if place is None:
            return None
        self.activity.picked(key, place, now)
        index = self._places.get(place)
        return None if index is None else marks.with_mark(mark, index)

    def _picked(self, key: FlowKey) -> Place | None:
        client, target = source_of(key[1]), destination_of(key[1])
        listener = self._attribution.listener(key[0], target)
        if listener is None:
            return None
        service = self._attribution.balancer.services[listener.service]
        candidates = self._candidates[service.name, target.family]
        if not candidates:
            return None
        if service.name not in self._pick_of:
            self._pick_of[service.name] = self._picks(service)
        try:
            backend = self._pick_of[service.name](candidates, client, target, self.activity.active(service.name))
        except SchedulerFailed as error:
            self._complain(str(error))
            return None
        return None if backend is None else (service.name, backend.endpoint)
