"""The PROXY protocol, versions 1 and 2, read and written.

The rule: bytes in, values out, no I/O; a header is accepted whole or refused, never guessed.
Source: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, sections 2.1 and 2.2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

from lb4.address import AddressError, Endpoint, parse_ip, parse_port

V1_LIMIT = 107
"""The longest version 1 line, CR LF included (section 2.1)."""
V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V2_HEAD = struct.Struct("!12sBBH")
V2_LIMIT = 4096
V2_LENGTHS = {0x10: 4, 0x20: 16}


class ProxyProtocolError(ValueError):
    """The bytes are no PROXY protocol header."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """The addresses a header tells of, both None for a health check of the proxy itself; size: its length in bytes."""

    client: Endpoint | None
    target: Endpoint | None
    size: int


def parse(data: bytes) -> ProxyHeader | None:
    """The header at the start of a connection; None when more bytes are needed. Raises ProxyProtocolError."""
    if data[:12] == V2_SIGNATURE[: len(data)]:
        return _parse_v2(data) if len(data) >= V2_HEAD.size else None
    if data[:6] == b"PROXY "[: len(data)]:
        return _parse_v1(data)
    raise ProxyProtocolError("the connection does not start with a PROXY protocol header")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, V1_LIMIT)
    if end < 0:
        if len(data) >= V1_LIMIT:
            raise ProxyProtocolError("a version 1 line is longer than 107 bytes")
        return None
    words = data[:end].decode("latin-1").split(" ")
    if words[1:2] == ["UNKNOWN"]:
        return ProxyHeader(None, None, end + 2)
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise ProxyProtocolError("a version 1 line is PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT")
    try:
        client = Endpoint(parse_ip(words[2]), parse_port(words[4]))
        target = Endpoint(parse_ip(words[3]), parse_port(words[5]))
    except AddressError as error:
        raise ProxyProtocolError(str(error)) from None
    if {client.family, target.family} != {"ip" if words[1] == "TCP4" else "ip6"}:
        raise ProxyProtocolError(f"{words[1]} does not fit its addresses")
    return ProxyHeader(client, target, end + 2)


def _parse_v2(data: bytes) -> ProxyHeader | None:
    _, version_command, family_protocol, length = V2_HEAD.unpack_from(data)
    if version_command not in (0x20, 0x21):
        raise ProxyProtocolError(f"version and command {version_command:#04x} are neither LOCAL nor PROXY of version 2")
    if length > V2_LIMIT:
        raise ProxyProtocolError(f"a version 2 header of {length} bytes is longer than {V2_LIMIT}")
    size = V2_HEAD.size + length
    if len(data) < size:
        return None
    width = V2_LENGTHS.get(family_protocol & 0xF0)
    if version_command == 0x20 or width is None:
        return ProxyHeader(None, None, size)
    if length < 2 * width + 4:
        raise ProxyProtocolError("a version 2 header is too short for its addresses")
    body = data[V2_HEAD.size : size]
    source_port, target_port = struct.unpack_from("!HH", body, 2 * width)
    client, target = _packed(body[:width], source_port), _packed(body[width : 2 * width], target_port)
    return ProxyHeader(client, target, size)


def _packed(address: bytes, port: int) -> Endpoint:
    return Endpoint(ip_address(address), port)


def build(version: int, client: Endpoint, target: Endpoint, datagrams: bool = False) -> bytes:
    """The header of version 1 or 2 for a connection from client to target; both of one family, else UNKNOWN/LOCAL."""
    same = client.family == target.family
    if version == 1:
        if not same:
            return b"PROXY UNKNOWN\r\n"
        family = "TCP4" if client.family == "ip" else "TCP6"
        return f"PROXY {family} {client.ip} {target.ip} {client.port} {target.port}\r\n".encode()
    if not same:
        return V2_HEAD.pack(V2_SIGNATURE, 0x20, 0, 0)
    addresses = client.ip.packed + target.ip.packed + struct.pack("!HH", client.port, target.port)
    kind = (0x10 if client.family == "ip" else 0x20) | (2 if datagrams else 1)
    return V2_HEAD.pack(V2_SIGNATURE, 0x21, kind, len(addresses)) + addresses
