"""A recorded capture run through the pure core of packet mode.

The rule: no kernel and no clock: the capture's own times are the time, and ports come in the same order each time.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from cli.trace.captured import Captured
from lb4.address import Endpoint, IPAddress
from lb4.model import Balancer, Mode
from lb4.packet.keys import destination_of, source_of
from lb4.packet.load_scheduler import load_scheduler
from lb4.packet.parse import PROTOCOL_NAMES, Header, parse
from lb4.packet.picks import picks
from lb4.packet.setup import Setup
from lb4.packet.translate import Outcome, Translator


@dataclass(frozen=True, slots=True)
class Replayed:
    """A packet of the capture and what came of it: verdict is `translated`, `answered`, `passed` or `dropped`."""

    time: float
    data: bytes
    out: bytes | None
    verdict: str


def as_packet_mode(balancer: Balancer) -> Balancer:
    """The balancer with every listener that packets can be translated for in mode `packet`."""
    modes = (Mode.PACKET, Mode.NAT, Mode.GATEWAY)
    listeners = {n: replace(each, mode=Mode.PACKET) for n, each in balancer.listeners.items() if each.mode in modes}
    return Balancer(listeners, balancer.services)


def replay(balancer: Balancer, routes: dict[IPAddress, IPAddress], packets: Iterable[Captured]) -> Iterator[Replayed]:
    """routes: by backend address the balancer's own towards it; a bind's address stands in where there is none."""
    stand_ins = {bind.ip.version: bind.ip for each in balancer.listeners.values() for bind in each.binds}
    ips = {b.endpoint.ip for service in balancer.services.values() for b in service.backends}
    known = {ip: routes.get(ip) or stand_ins.get(ip.version) for ip in ips}
    setup = Setup(balancer, {ip: source for ip, source in known.items() if source is not None})
    translator = Translator(setup, picks(random.Random(0).random, load_scheduler), lambda text: None)
    for time, data in packets:
        translator.table.expire(time)
        yield _replayed(time, data, translator.step(data, time))


def _replayed(time: float, data: bytes, outcome: Outcome) -> Replayed:
    if outcome is data:
        return Replayed(time, data, data, "passed")
    if outcome is None or isinstance(outcome, int):
        return Replayed(time, data, None, "dropped")
    return Replayed(time, data, bytes(outcome), "translated" if isinstance(outcome, bytearray) else "answered")


def ends(data: bytes) -> tuple[str, str, str]:
    """Protocol, source and destination for people."""
    header = parse(data)
    if header is None:
        return "?", "?", "?"
    source, destination = _ends(header)
    return PROTOCOL_NAMES.get(header.protocol, str(header.protocol)), str(source), str(destination)


def _ends(header: Header) -> tuple[Endpoint, Endpoint]:
    if len(header.key) in (12, 36):
        return source_of(header.key), destination_of(header.key)
    padded = header.key + b"\0\0\0\0"
    return Endpoint(source_of(padded).ip), Endpoint(destination_of(padded).ip)
