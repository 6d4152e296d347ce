"""One case judged: what came out at the backend and at the client against what scapy says.

The rule: a Judge carries bytes one way and says what came out; what must come out is decided here, for all judges.
"""

from __future__ import annotations

from typing import Protocol

from scapy.layers.inet import ICMP
from scapy.packet import Packet, raw

from tests.packet.cases import BACKEND_PORT, PORT, Case, parsed, ports, translated
from tests.packet.network import BIND, BIND6, CLIENT, CLIENT6, SERVERS, SERVERS6

SOURCE, SOURCE6 = "10.0.1.1", "fd00:1::1"


class Judge(Protocol):
    """hops: routers that a packet passes on its way."""

    hops: int

    def to_backend(self, data: bytes) -> bytes | None: ...

    def to_client(self, data: bytes) -> bytes | None: ...


def check(case: Case, judge: Judge) -> None:
    """The request and the answer of a case."""
    at_backend = judge.to_backend(raw(case.request))
    assert at_backend is not None, "the request did not reach the backend"
    six = case.version == 6
    bind, client, backend = (BIND6, CLIENT6, SERVERS6[0]) if six else (BIND, CLIENT, SERVERS[0])
    source = (SOURCE6 if six else SOURCE, ports(parsed(at_backend))[0])
    client_port = ports(case.request)[0]
    sent = parsed(raw(case.request))
    assert at_backend == translated(sent, source, (backend, BACKEND_PORT), judge.hops)

    at_client = judge.to_client(raw(case.answer(parsed(at_backend))))
    assert at_client is not None, "the answer did not reach the client"
    wanted = parsed(raw(case.wanted(parsed(raw(case.request)))))
    if is_error(wanted):
        assert at_client == error_wanted(case, at_backend, judge.hops)
    else:
        assert at_client == translated(wanted, (bind, PORT), (client, client_port), judge.hops)


def is_error(packet: Packet) -> bool:
    return ICMP in packet or (packet.version == 6 and packet.nh == 58)


def error_wanted(case: Case, at_backend: bytes, hops: int) -> bytes:
    """The error about the request as the client sent it, but for the TTL, which the request lost on its way."""
    sent = parsed(raw(case.request))
    if sent.version == 4:
        sent.ttl = parsed(at_backend).ttl
        del sent.chksum
    else:
        sent.hlim = parsed(at_backend).hlim
    wanted = parsed(raw(case.wanted(parsed(raw(sent)))))
    if wanted.version == 4:
        wanted.ttl -= hops
        del wanted.chksum
    else:
        wanted.hlim -= hops
    return raw(wanted)
