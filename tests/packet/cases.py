"""The table of cases: what a client sends and what its backend answers, built by scapy.

The rule: the same cases are judged at the pure core, at the running hook and at the kernel's own NAT; scapy, which
computes every checksum anew, says byte for byte what must come out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    PadN,
)
from scapy.packet import Packet, Raw, raw

from tests.packet.network import BIND, BIND6, CLIENT, CLIENT6

PORT = 80
BACKEND_PORT = 8080
Answer = Callable[[Packet], Packet]


@dataclass(frozen=True)
class Case:
    """request: as the client sends it. answer: of the request as the backend got it, what comes back.

    wanted: of the request as the client sent it, what the client must get for the answer.
    """

    name: str
    request: Packet
    answer: Answer
    wanted: Answer

    @property
    def version(self) -> int:
        return int(self.request.version)


def four(transport: Packet, **fields: object) -> Packet:
    return IP(src=CLIENT, dst=BIND, id=77, flags="DF", **fields) / transport


def six(transport: Packet) -> Packet:
    return IPv6(src=CLIENT6, dst=BIND6, fl=0x12345) / transport


def tcp(port: int, flags: str, **fields: object) -> Packet:
    return TCP(sport=port, dport=PORT, flags=flags, seq=1000, ack=0 if flags == "S" else 2000, **fields)


def udp(port: int, payload: bytes, **fields: object) -> Packet:
    return UDP(sport=port, dport=PORT, **fields) / Raw(payload)


def mirrored(change: Callable[[Packet], None] = lambda packet: None, payload: bytes = b"answer") -> Answer:
    """A packet back to where the request came from; `change` fills in what is special."""

    def answer(request: Packet) -> Packet:
        kind = TCP if TCP in request else UDP
        network = IPv6 if request.version == 6 else IP
        back = network(src=request.dst, dst=request.src, **({} if network is IPv6 else {"id": 99, "flags": "DF"}))
        transport = kind(sport=request[kind].dport, dport=request[kind].sport)
        if kind is TCP:
            transport.seq, transport.ack = 5000, 1001
        whole = back / transport / Raw(payload) if payload else back / transport
        change(whole)
        return whole

    return answer


def flags(letters: str) -> Callable[[Packet], None]:
    def change(packet: Packet) -> None:
        packet[TCP].flags = letters

    return change


def no_checksum(packet: Packet) -> None:
    packet[UDP].chksum = 0


def error(message: Packet, cut: int | None = None) -> Answer:
    """An ICMP error about the request, from where it went to. cut: bytes of the request it quotes."""

    def answer(request: Packet) -> Packet:
        network = IPv6 if request.version == 6 else IP
        quoted = raw(request)
        back = network(src=request.dst, dst=request.src, **({} if network is IPv6 else {"id": 5}))
        return back / message.copy() / Raw(quoted[:cut] if cut else quoted)

    return answer


def both(name: str, request: Packet, answer: Answer) -> Case:
    return Case(name, request, answer, answer)


CASES = (
    both("tcp-syn", four(tcp(40001, "S", options=[("MSS", 1460), ("SAckOK", b""), ("WScale", 7)])),
         mirrored(flags("SA"), b"")),
    both("tcp-syn-with-odd-data", four(tcp(40002, "S") / Raw(b"abc")), mirrored(flags("SA"), b"xyz")),
    both("tcp-reset", four(tcp(40003, "S")), mirrored(flags("RA"), b"")),
    both("tcp-options", four(tcp(40004, "S", options=[("Timestamp", (123456, 0)), ("NOP", None), ("NOP", None)])),
         mirrored(flags("SA"))),
    both("tcp-full-segment", four(tcp(40005, "S") / Raw(bytes(range(256)) * 5)), mirrored(flags("SA"), b"y" * 1400)),
    both("tcp-with-ip-options", four(tcp(40006, "S"), options=[IPOption_NOP()] * 4), mirrored(flags("SA"))),
    both("udp", four(udp(40010, b"question")), mirrored()),
    both("udp-odd", four(udp(40011, b"questions")), mirrored(payload=b"odd")),
    both("udp-empty", four(udp(40012, b"")), mirrored(payload=b"")),
    both("udp-without-checksum", four(udp(40013, b"question", chksum=0)), mirrored(no_checksum)),
    both("udp-tos-kept", four(udp(40014, b"q"), tos=0xB8), mirrored()),
    both("udp-with-ip-options", four(udp(40015, b"q"), options=[IPOption_NOP()] * 8), mirrored()),
    both("tcp6-syn", six(tcp(40020, "S", options=[("MSS", 1440)])), mirrored(flags("SA"), b"")),
    both("udp6", six(udp(40021, b"question")), mirrored()),
    both("udp6-odd", six(udp(40022, b"questions")), mirrored(payload=b"odd")),
    both("udp6-hop-by-hop", six(IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]) / udp(40023, b"q")), mirrored()),
    both("udp6-destination-options",
         six(IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)]) / udp(40024, b"q")), mirrored()),
    both("icmp-port-unreachable", four(udp(40030, b"question")), error(ICMP(type=3, code=3))),
    both("icmp-quotes-eight-bytes", four(udp(40031, b"question")), error(ICMP(type=3, code=1), 28)),
    both("icmp-fragmentation-needed", four(tcp(40032, "S") / Raw(b"z" * 900)),
         error(ICMP(type=3, code=4, nexthopmtu=576), 548)),
    both("icmp-quotes-tcp-in-part", four(tcp(40033, "S")), error(ICMP(type=3, code=13), 28)),
    both("icmp-time-exceeded", four(udp(40034, b"odd")), error(ICMP(type=11, code=0))),
    both("icmp6-port-unreachable", six(udp(40035, b"question")), error(ICMPv6DestUnreach(code=4))),
    both("icmp6-too-big", six(tcp(40036, "S") / Raw(b"z" * 1000)), error(ICMPv6PacketTooBig(mtu=1280))),
    both("icmp6-time-exceeded", six(udp(40037, b"odd")), error(ICMPv6TimeExceeded(code=0))),
)  # fmt: skip


def translated(packet: Packet, source: tuple[str, int], destination: tuple[str, int], hops: int) -> bytes:
    """The packet as scapy builds it with these addresses and ports; checksums anew, where there was one."""
    out = packet.__class__(raw(packet))
    out.src, out.dst = source[0], destination[0]
    if packet.version == 4:
        out.ttl -= hops
        del out.chksum
    else:
        out.hlim -= hops
    kind = TCP if TCP in out else UDP
    out[kind].sport, out[kind].dport = source[1], destination[1]
    if kind is TCP or out[UDP].chksum:
        del out[kind].chksum
    return raw(out)


def ports(packet: Packet) -> tuple[int, int]:
    kind = TCP if TCP in packet else UDP
    return packet[kind].sport, packet[kind].dport


def parsed(data: bytes) -> Packet:
    """Bytes as scapy reads them."""
    return IPv6(data) if data[0] >> 4 == 6 else IP(data)
