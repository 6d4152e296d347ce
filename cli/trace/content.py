"""What of a packet the balancer does not change: how the two sides of it are known to be the same packet.

The rule: addresses, ports, TTL and checksums say nothing here. A packet may leave in pieces of what arrived (large
receive offload puts segments together before trace sees them), never the other way round.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from lb4.packet.parse import FIN, SYN, TCP, Header, flag_text

_TCP = Struct("!4xIIBB")
_HALF = 1 << 31
_ALL = (1 << 32) - 1


class Content(NamedTuple):
    """first and size: TCP's sequence number and how much of it the segment takes, at least 1. rest: what is equal."""

    protocol: int
    first: int
    size: int
    rest: bytes
    flags: str

    def holds(self, other: Content) -> bool:
        """Whether the other can be this packet or a piece of it."""
        if self.protocol != other.protocol or self.rest != other.rest:
            return False
        return (other.first - self.first & _ALL) < self.size

    def ends_with(self, other: Content) -> bool:
        """Whether nothing of this packet is left after the other."""
        return (other.first + other.size - self.first - self.size & _ALL) < _HALF


def content_of(data: bytes, header: Header) -> Content:
    """Of a TCP segment or UDP datagram."""
    start = header.transport
    if header.protocol != TCP:
        return Content(header.protocol, 0, 1, data[start + 8 : header.end], "")
    first, acknowledged, offset, flags = _TCP.unpack_from(data, start)
    payload = header.end - start - (offset >> 4) * 4
    size = max(1, payload + bool(flags & SYN) + bool(flags & FIN))
    return Content(TCP, first, size, acknowledged.to_bytes(4, "big"), flag_text(flags))
