"""Answers the balancer gives in a listener's name: a TCP reset, an ICMP port-unreachable.

The rule: made of the refused packet alone (the verdict sends it back in its place), and never in answer to a reset,
an ICMP error or a later fragment (RFC 9293 section 3.10.7.1, RFC 1122 section 3.2.2).
"""

from __future__ import annotations

from struct import Struct

from lb4.packet.checksum import checksum, folded, pseudo, words
from lb4.packet.parse import ACK, FIN, ICMP, ICMP6, RST, SYN, TCP, UDP, Header

HOPS = 64
_V4 = Struct("!BBHHHBBH")
_V6 = Struct("!IHBB")
_TCP = Struct("!4sIIBBHHH")
_ICMP = Struct("!BBHI")
_NUMBERS = Struct("!II")

V4_QUOTE_MAX = 548
"""So that the error has at most 576 bytes (RFC 1812 section 4.3.2.3)."""
V6_QUOTE_MAX = 1232
"""So that the error fits the smallest MTU, 1280 (RFC 4443 section 2.4)."""


def answer(data: bytes, header: Header) -> bytes | None:
    """What tells the sender that nobody is there; None where no answer may be given."""
    if header.offset:
        return None
    if header.protocol == TCP:
        return reset(data, header)
    return unreachable(data, header) if header.protocol == UDP else None


def reset(data: bytes, header: Header) -> bytes | None:
    """The RST that RFC 9293 section 3.10.7.1 gives a segment to a closed port; None in answer to a RST."""
    at = header.transport
    flags = data[at + 13]
    if flags & RST:
        return None
    sequence, acknowledged = _NUMBERS.unpack_from(data, at + 4)
    length = header.end - at - (data[at + 12] >> 4) * 4 + bool(flags & SYN) + bool(flags & FIN)
    ports = data[at + 2 : at + 4] + data[at : at + 2]
    if flags & ACK:
        segment = _TCP.pack(ports, acknowledged, 0, 5 << 4, RST, 0, 0, 0)
    else:
        segment = _TCP.pack(ports, 0, (sequence + max(length, 0)) & 0xFFFFFFFF, 5 << 4, RST | ACK, 0, 0, 0)
    return _back(data, header, TCP, _summed(segment, 16, _pseudo(data, header, TCP, len(segment))))


def unreachable(data: bytes, header: Header) -> bytes:
    """ICMP destination unreachable, port unreachable (RFC 792; RFC 4443 section 3.1), quoting the packet."""
    if header.version == 4:
        message = _ICMP.pack(3, 3, 0, 0) + data[: min(header.end, V4_QUOTE_MAX)]
        return _back(data, header, ICMP, _summed(message, 2, 0))
    message = _ICMP.pack(1, 4, 0, 0) + data[: min(header.end, V6_QUOTE_MAX)]
    return _back(data, header, ICMP6, _summed(message, 2, _pseudo(data, header, ICMP6, len(message))))


def _pseudo(data: bytes, header: Header, protocol: int, length: int) -> int:
    size = header.address_size
    return pseudo(header.key[:size], header.key[size : 2 * size], protocol, length)


def _summed(message: bytes, at: int, added: int) -> bytes:
    total = ~folded(words(message) + added) & 0xFFFF
    return message[:at] + total.to_bytes(2, "big") + message[at + 2 :]


def _back(data: bytes, header: Header, protocol: int, payload: bytes) -> bytes:
    size = header.address_size
    addresses = header.key[size : 2 * size] + header.key[:size]
    if header.version == 6:
        return _V6.pack(6 << 28, len(payload), protocol, HOPS) + addresses + payload
    head = _V4.pack(0x45, 0, 20 + len(payload), 0, 0x4000, HOPS, protocol, 0) + addresses
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + payload
