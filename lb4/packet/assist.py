"""The first packet of a flow: the hook picks the backend and says so by a mark, the kernel translates by the mark.

The rule: a packet that nothing can be picked for goes on unmarked and the kernel picks; a first packet that comes
again (a SYN retransmit) keeps its backend and is not counted again.
"""

from __future__ import annotations

from collections.abc import Callable

from lb4 import marks
from lb4.address import Endpoint
from lb4.attribution import Attribution
from lb4.conntrack_message import PROTOCOLS
from lb4.model import Balancer, Service
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
        self._use(balancer)

    def _use(self, balancer: Balancer) -> None:
        self._attribution = Attribution(balancer)
        self._pick_of: dict[str, Pick] = {}

    def reconfigure(self, balancer: Balancer) -> None:
        """Goes on with another configuration; the counts are to be set right then."""
        self._use(balancer)

    def mark(self, data: bytes, mark: int, now: float) -> int | None:
        """The mark that the packet shall carry on with, None to leave it as it is.

        data: the packet's headers at least, from the IP header.
        """
        header = parse(data)
        if header is None or header.offset or header.protocol not in PROTOCOLS:
            return None
        client, target = source_of(header.key), destination_of(header.key)
        key = PROTOCOLS[header.protocol], client, target
        listener = self._attribution.listener(key[0], target)
        if listener is None:
            return None
        service = self._attribution.balancer.services[listener.service]
        place = self.activity.place_of(key) or self._picked(service, key)
        if place is None:
            return None
        self.activity.picked(key, place, now)
        index = place_among(service, place[1])
        return None if index is None else marks.with_mark(mark, index)

    def _picked(self, service: Service, key: FlowKey) -> Place | None:
        _, client, target = key
        candidates = service.eligible(target.family)
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


def place_among(service: Service, endpoint: Endpoint) -> int | None:
    """The place of a backend among its family's, which is what marks name; None where it is gone."""
    endpoints = [backend.endpoint for backend in service.of_family(endpoint.family)]
    return endpoints.index(endpoint) if endpoint in endpoints else None
