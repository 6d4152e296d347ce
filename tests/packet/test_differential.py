"""The same random mix of TCP, UDP and ICMP through packet mode and through the kernel's NAT.

The rule: what comes out is equal but for the source port, which each mode chooses for itself; where the modes differ
otherwise, it is in DIFFERENCES and in docs/packet-mode.md.
"""

from __future__ import annotations

import pickle
import random
from contextlib import ExitStack

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Packet, Raw, raw

from lb4.model import Mode
from lb4.packet.part import PacketPart
from tests.packet.cases import parsed
from tests.packet.hook import load, worker
from tests.packet.network import BIND, CLIENT, network
from tests.packet.setting import balancer
from tests.packet.test_kernel import Namespaces

pytestmark = pytest.mark.root

SEED = 20240601
PACKETS = 60


def mix() -> list[tuple[Packet, str]]:
    """Packets of a client, each of a flow of its own, and what comes back: an answer, an error, nothing."""
    chance = random.Random(SEED)
    found = []
    for number in range(PACKETS):
        port, payload = 30000 + number, chance.randbytes(chance.randrange(0, 1200))
        network = IP(src=CLIENT, dst=BIND, id=chance.randrange(1, 65536), tos=chance.choice((0, 0x10, 0xB8)))
        transport: Packet = UDP(sport=port, dport=80)
        if chance.random() < 0.5:
            options = [("MSS", chance.randrange(500, 1460)), ("WScale", chance.randrange(15))]
            transport = TCP(sport=port, dport=80, flags="S", seq=chance.getrandbits(32), options=options)
        found.append((network / transport / Raw(payload), chance.choice(("answer", "answer", "error", "nothing"))))
    return found


def back(request: Packet, what: str) -> Packet:
    if what == "error":
        return IP(src=request.dst, dst=request.src, id=3) / ICMP(type=3, code=10) / Raw(raw(request)[:200])
    kind = TCP if TCP in request else UDP
    answer = IP(src=request.dst, dst=request.src, id=4) / kind(sport=request[kind].dport, dport=request[kind].sport)
    if kind is TCP:
        answer[TCP].flags, answer[TCP].seq, answer[TCP].ack = "SA", 77, request[TCP].seq + 1 & 0xFFFFFFFF
    return answer / Raw(b"the answer")


def outcome(mode: Mode) -> list[list[bytes | None]]:
    """What reached the backend, its source port taken out, and what reached the client."""
    setting = balancer(mode)
    with ExitStack() as stack:
        net = stack.enter_context(network())
        load(net, setting)
        if mode is Mode.PACKET:
            stack.enter_context(worker(net, pickle.dumps(PacketPart(setting)), "packet", "-", "0", "netlink"))
        between = Namespaces(net)
        stack.callback(between.close)
        return [passed(between, request, what) for request, what in mix()]


def passed(between: Namespaces, request: Packet, what: str) -> list[bytes | None]:
    at_backend = between.to_backend(raw(request))
    if at_backend is None:
        return [None]
    there = parsed(at_backend)
    answer = between.to_client(raw(back(there, what))) if what != "nothing" else b""
    return [without_port(there), answer]


def without_port(packet: Packet) -> bytes:
    kind = TCP if TCP in packet else UDP
    packet[kind].sport = 1
    del packet[kind].chksum
    return raw(packet)


def test_both_modes_do_the_same() -> None:
    by_hook, by_kernel = outcome(Mode.PACKET), outcome(Mode.NAT)
    assert by_hook == by_kernel
    assert not any(None in each for each in by_hook)
