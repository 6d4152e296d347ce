"""ICMP and ICMPv6 errors about a flow: translated outside and in the packet they quote.

The rule: who gets the error sees the packet it sent itself, and the error comes from whom it sent it to; that is what
the kernel's NAT does too (nf_nat_icmp_reply_translation), so a router between balancer and backend stays unseen.
"""

from __future__ import annotations

from struct import Struct

from lb4.packet.checksum import change, changed, folded
from lb4.packet.keys import turned
from lb4.packet.parse import ICMP, ICMP6, Header, parse_quoted
from lb4.packet.rewrite import SUM_AT, Translation, readdressed, resummed

# RFC 792; RFC 4443 section 2.1: all ICMPv6 types below 128 are errors
V4_ERRORS = frozenset({3, 4, 11, 12})
V6_ERRORS_END = 128
_QUOTE_AT = 8
_SUM = Struct("!H")


class Quote:
    """The packet an ICMP error quotes: where it starts in the outer packet and its own header."""

    __slots__ = ("header", "start")

    def __init__(self, start: int, header: Header) -> None:
        self.start = start
        self.header = header


def is_error(data: bytes, header: Header) -> bool:
    """Whether the packet is an ICMP or ICMPv6 error message."""
    if header.offset or header.end < header.transport + _QUOTE_AT:
        return False
    kind = data[header.transport]
    if header.version == 4:
        return header.protocol == ICMP and kind in V4_ERRORS
    return header.protocol == ICMP6 and kind < V6_ERRORS_END


def quoted(data: bytes, header: Header) -> Quote | None:
    """The quoted packet, None where it is cut before its ports or is a later fragment."""
    start = header.transport + _QUOTE_AT
    inner = parse_quoted(data[start : header.end])
    return None if inner is None or inner.version != header.version else Quote(start, inner)


def translated(data: bytes, header: Header, quote: Quote, back: Translation) -> bytearray:
    """The error as its receiver shall see it.

    back: how packets in the error's direction are translated, so that its `new`, turned, is the quoted packet as it
    was sent.
    """
    new = back.new
    inner = data[quote.start : header.end]
    sent = Translation(quote.header.key, turned(new))
    changed_inner = _inner(inner, quote.header, sent)
    out = bytearray(data)
    out[quote.start : header.end] = changed_inner
    readdressed(out, header.version, back)
    added = change(_even(inner), _even(bytes(changed_inner)))
    if header.version == 6:
        added = folded(added + change(data[8:40], new[:32]))
    at = header.transport + 2
    _SUM.pack_into(out, at, changed(_SUM.unpack_from(data, at)[0], added))
    return out


def _inner(inner: bytes, header: Header, sent: Translation) -> bytearray:
    out = bytearray(inner)
    readdressed(out, header.version, sent)
    out[header.transport : header.transport + 4] = sent.new[-4:]
    if len(inner) >= header.transport + SUM_AT[header.protocol] + 2:
        resummed(out, header, sent.added_transport)
    return out


def _even(data: bytes) -> bytes:
    return data + b"\0" if len(data) % 2 else data
