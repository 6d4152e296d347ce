"""Headers read from bytes: IPv4 with options, IPv6 with extension headers, as far as the transport's ports.

The rule: any bytes at all give a Header or None, never an exception; None is a packet that no flow can own.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

TCP = 6
UDP = 17
ICMP = 1
ICMP6 = 58
PROTOCOL_NAMES = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMP6: "icmpv6"}

# RFC 9293 section 3.1
FIN = 0x01
SYN = 0x02
RST = 0x04
PSH = 0x08
ACK = 0x10
URG = 0x20
FLAG_LETTERS = ((FIN, "F"), (SYN, "S"), (RST, "R"), (PSH, "P"), (ACK, "A"), (URG, "U"))

# RFC 8200 section 4, RFC 4302, RFC 7401, RFC 5533
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, HOST_IDENTITY, SHIM6 = 0, 43, 44, 51, 60, 139, 140
EXTENSIONS = frozenset({HOP_BY_HOP, ROUTING, DESTINATION, HOST_IDENTITY, SHIM6})

_TRANSPORT_MIN = {TCP: 20, UDP: 8}
_PORTS_MIN = {TCP: 4, UDP: 4}
_V4_LENGTH = Struct("!H")
_V4_FRAGMENT = Struct("!HH")
_V6_FRAGMENT = Struct("!HI")


class Header(NamedTuple):
    """Where the parts of a packet are.

    transport: the offset of the transport header. end: the offset of the first byte after the packet, at most the
    length of the data. key: source and destination address and, of TCP and UDP, source and destination port, as they
    stand in the packet; of anything else the addresses alone. fragment: what its fragments have in common, None where
    the packet is whole. offset: the fragment's place in bytes. more: fragments follow.
    """

    version: int
    protocol: int
    transport: int
    end: int
    key: bytes
    fragment: bytes | None = None
    offset: int = 0
    more: bool = False

    @property
    def address_size(self) -> int:
        """Bytes of an address: 4 or 16."""
        return 4 if self.version == 4 else 16


def parse(data: bytes) -> Header | None:
    """The headers of an IP packet that starts with the first byte, None where they are cut or make no sense."""
    header = _addresses(data)
    return None if header is None else _with_ports(data, header, _TRANSPORT_MIN)


def parse_quoted(data: bytes) -> Header | None:
    """The headers of a packet that an ICMP error quotes: TCP or UDP, of which no more than the ports must be there."""
    header = _addresses(data)
    if header is None or header.offset or header.protocol not in _PORTS_MIN:
        return None
    return _with_ports(data, header, _PORTS_MIN)


def _addresses(data: bytes) -> Header | None:
    if not data:
        return None
    version = data[0] >> 4
    if version == 4:
        return _parse_v4(data)
    return _parse_v6(data) if version == 6 else None


def _parse_v4(data: bytes) -> Header | None:
    transport = (data[0] & 0x0F) * 4
    if transport < 20 or len(data) < transport:
        return None
    end = min(_V4_LENGTH.unpack_from(data, 2)[0], len(data))
    identity, word = _V4_FRAGMENT.unpack_from(data, 4)
    protocol, addresses = data[9], data[12:20]
    offset, more = (word & 0x1FFF) * 8, bool(word & 0x2000)
    fragment = addresses + bytes((protocol, identity >> 8, identity & 0xFF)) if offset or more else None
    return Header(4, protocol, transport, end, addresses, fragment, offset, more)


def _parse_v6(data: bytes) -> Header | None:
    if len(data) < 40:
        return None
    end = min(40 + _V4_LENGTH.unpack_from(data, 4)[0], len(data))
    protocol, at, addresses = data[6], 40, data[8:40]
    fragment, offset, more = None, 0, False
    while protocol in EXTENSIONS or protocol in (FRAGMENT, AUTHENTICATION):
        if at + 8 > end:
            return None
        following, size = data[at], (data[at + 1] + 1) * 8
        if protocol == FRAGMENT:
            word, identity = _V6_FRAGMENT.unpack_from(data, at + 2)
            offset, more, size = word & 0xFFF8, bool(word & 1), 8
            fragment = addresses + bytes((following,)) + identity.to_bytes(4, "big") if offset or more else None
        elif protocol == AUTHENTICATION:
            size = (data[at + 1] + 2) * 4
        protocol, at = following, at + size
        if offset:
            break
    if at > end:
        return None
    return Header(6, protocol, at, end, addresses, fragment, offset, more)


def _with_ports(data: bytes, header: Header, shortest: dict[int, int]) -> Header | None:
    if header.end < header.transport:
        return None
    if header.offset or header.protocol not in shortest:
        return header
    if header.end < header.transport + shortest[header.protocol]:
        return None
    return header._replace(key=header.key + data[header.transport : header.transport + 4])


def flag_text(flags: int) -> str:
    """TCP's flags as letters, `SA` for SYN and ACK; the order of RFC 9293 from the low bit."""
    return "".join(letter for flag, letter in FLAG_LETTERS if flags & flag)
