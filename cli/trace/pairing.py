"""Pairs what arrived with what left, and numbers the flows: sightings in, passages out.

The rule: no configuration of the kernel and no list of its flows is needed: packets that are the same but for their
addresses are one packet, and the first such pair of a flow tells how the flow is translated in both directions. What
arrived and does not leave within WAIT was dropped, refused or answered, and is told so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import count

from cli.trace.content import Content, content_of
from cli.trace.places import TWO_CONNECTIONS, Places
from cli.trace.sighting import Box, Direction, Passage, Sighting
from lb4.packet.keys import destination_of, source_of, turned
from lb4.packet.parse import TCP, UDP, Header, parse

WAIT = 0.5
"""Seconds after which a packet that did not leave is taken for gone."""
FLOWS_MAX = 65536
PROTOCOLS = {TCP: "tcp", UDP: "udp"}

Key = tuple[int, bytes]
"""A protocol and the key of a packet."""


class TracedFlow:
    """A flow by the key its client sends; `given` is the key its backend gets, once known."""

    __slots__ = ("given", "last", "listener", "number", "service")

    def __init__(self, number: int, listener: str, service: str) -> None:
        self.number, self.listener, self.service = number, listener, service
        self.given: Key | None = None
        self.last: float | None = None


class Waiting:
    """A packet that arrived and has not left."""

    __slots__ = ("box", "content", "direction", "flow", "key", "pieces")

    def __init__(self, box: Box, content: Content, direction: Direction, key: Key, flow: TracedFlow | None) -> None:
        self.box, self.content, self.direction, self.key, self.flow = box, content, direction, key, flow
        self.pieces = 0


class Pairing:
    """What is under way and which flows are known."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._numbers = count(1)
        self._flows: dict[Key, TracedFlow] = {}
        self._given: dict[Key, TracedFlow] = {}
        self._waiting: deque[Waiting] = deque()

    def seen(self, sighting: Sighting) -> Iterator[Passage]:
        """What is known now that this packet was seen."""
        header = parse(sighting.data)
        if header is None or header.offset or header.protocol not in PROTOCOLS:
            return
        box = Box(source_of(header.key), destination_of(header.key), sighting)
        if sighting.outgoing:
            yield from self._left(box, header)
        else:
            yield from self._arrived(box, header)

    def idle(self, now: float) -> Iterator[Passage]:
        """What has waited too long."""
        while self._waiting and self._waiting[0].box.sighting.time + WAIT < now:
            gone = self._waiting.popleft()
            if not gone.pieces and gone.flow is not None:
                yield self._passage(gone.flow, gone.direction, gone.content, gone.box, None)

    # ---- what arrives

    def _arrived(self, box: Box, header: Header) -> Iterator[Passage]:
        key, content = (header.protocol, header.key), content_of(box.sighting.data, header)
        listener = self._places.listener_at(PROTOCOLS[header.protocol], box.destination)
        if listener is not None:
            flow = self._flow(key, listener.name, listener.service)
            if listener.mode in TWO_CONNECTIONS:
                yield self._passage(flow, "request", content, box, None)
            else:
                self._waiting.append(Waiting(box, content, "request", key, flow))
        elif self._places.service_at(box.source) is not None:
            known = self._given.get((key[0], turned(key[1])))
            self._waiting.append(Waiting(box, content, "response", key, known))

    def _flow(self, key: Key, listener: str, service: str) -> TracedFlow:
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) >= FLOWS_MAX:
                self._flows.pop(next(iter(self._flows)))
            flow = self._flows[key] = TracedFlow(next(self._numbers), listener, service)
        return flow

    # ---- what leaves

    def _left(self, box: Box, header: Header) -> Iterator[Passage]:
        key, content = (header.protocol, header.key), content_of(box.sighting.data, header)
        listener = self._places.listener_at(PROTOCOLS[header.protocol], box.source)
        if listener is not None:
            flow = self._flow((key[0], turned(key[1])), listener.name, listener.service)
            waiting = None if listener.mode in TWO_CONNECTIONS else self._match(content, "response", flow)
            yield self._passage(flow, "response", content, waiting.box if waiting else None, box)
            return
        if self._places.service_at(box.destination) is None:
            return
        waiting = self._match(content, "request", self._given.get(key))
        if waiting is not None and waiting.flow is not None:
            self._learn(waiting.flow, key)
            yield self._passage(waiting.flow, "request", content, waiting.box, box)

    def _learn(self, flow: TracedFlow, given: Key) -> None:
        if flow.given != given:
            if len(self._given) >= FLOWS_MAX:
                self._given.pop(next(iter(self._given)))
            flow.given = given
            self._given[given] = flow

    def _match(self, content: Content, direction: Direction, flow: TracedFlow | None) -> Waiting | None:
        """The oldest packet that can be this one; of a flow that is known, one of that flow alone."""
        for waiting in self._waiting:
            if waiting.direction != direction or not waiting.content.holds(content):
                continue
            if flow is not None and waiting.flow not in (flow, None):
                continue
            if flow is None and waiting.flow is not None and waiting.flow.given is not None:
                continue
            waiting.flow = waiting.flow or flow
            waiting.pieces += 1
            if waiting.content.ends_with(content):
                self._waiting.remove(waiting)
            return waiting
        return None

    def _passage(
        self, flow: TracedFlow, direction: Direction, content: Content, arrived: Box | None, left: Box | None
    ) -> Passage:
        box = arrived or left
        assert box is not None
        since = None if flow.last is None else max(0.0, box.sighting.time - flow.last)
        flow.last = box.sighting.time
        length = len((left or box).sighting.data)
        name = PROTOCOLS[content.protocol]
        return Passage(
            flow.number, flow.listener, flow.service, direction, name, content.flags, length, arrived, left, since
        )
