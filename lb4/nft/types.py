"""nft's data types by name: their numbers, lengths, byte orders and how their values are written.

The rule: a value of a type is so many bytes as a register holds them; `write` gives what nft reads back as the same.
Numbers and byte orders are those of nft's src/datatype.c, which keeps them in the kernel for its own listing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

HOST_ORDER = 1
NETWORK_ORDER = 2
TYPE_BITS = 6
VERDICT_TYPE = 0xFFFFFF00
VERDICT_LENGTH = 16

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}
NFPROTOS = {2: "ipv4", 10: "ipv6"}
DIRECTIONS = {0: "original", 1: "reply"}
ADDRESS_TYPES = {1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast"}
STATES = {1: "invalid", 2: "established", 4: "related", 8: "new", 64: "untracked"}
STATUSES = {1: "expected", 2: "seen-reply", 4: "assured", 8: "confirmed", 16: "snat", 32: "dnat", 512: "dying"}


@dataclass(frozen=True, slots=True)
class DataType:
    """A type's number, its length in bytes, its byte order (0: neither matters) and its printer."""

    number: int
    size: int
    order: int
    write: Callable[[bytes], str]


def _host(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)


def _named(names: dict[int, str]) -> Callable[[bytes], str]:
    return lambda value: names.get(_host(value), str(_host(value)))


def _flags(names: dict[int, str]) -> Callable[[bytes], str]:
    return lambda value: ",".join(name for bit, name in names.items() if _host(value) & bit)


def _name(value: bytes) -> str:
    return '"' + value.rstrip(b"\0").decode() + '"'


TYPES = {
    "nf_proto": DataType(2, 1, HOST_ORDER, _named(NFPROTOS)),
    "integer": DataType(4, 4, HOST_ORDER, lambda value: str(_host(value))),
    "ipv4_addr": DataType(7, 4, NETWORK_ORDER, lambda value: str(IPv4Address(value))),
    "ipv6_addr": DataType(8, 16, NETWORK_ORDER, lambda value: str(IPv6Address(value))),
    "inet_proto": DataType(12, 1, 0, _named(PROTOCOLS)),
    "inet_service": DataType(13, 2, NETWORK_ORDER, lambda value: str(int.from_bytes(value, "big"))),
    "mark": DataType(19, 4, HOST_ORDER, lambda value: f"0x{_host(value):08x}"),
    "ct_state": DataType(26, 4, HOST_ORDER, _flags(STATES)),
    "ct_dir": DataType(27, 1, HOST_ORDER, _named(DIRECTIONS)),
    "ct_status": DataType(28, 4, HOST_ORDER, _flags(STATUSES)),
    "fib_addrtype": DataType(38, 4, HOST_ORDER, _named(ADDRESS_TYPES)),
    "ifname": DataType(41, 16, HOST_ORDER, _name),
}

BY_NUMBER = {known.number: known for known in TYPES.values()}


def padded(size: int) -> int:
    """The bytes a field takes among others in a concatenation."""
    return (size + 3) & ~3


def number_of(names: Sequence[str]) -> int:
    """The type number of a field or, folded six bits each, of a concatenation."""
    folded = 0
    for name in names:
        folded = folded << TYPE_BITS | TYPES[name].number
    return folded


def length_of(names: Sequence[str]) -> int:
    """The bytes of a key or datum of these types."""
    if len(names) == 1:
        return TYPES[names[0]].size
    return sum(padded(TYPES[name].size) for name in names)


def order_of(names: Sequence[str]) -> int:
    """The byte order nft notes down for a set; none for a concatenation."""
    return TYPES[names[0]].order if len(names) == 1 else 0


def pack(value: Sequence[bytes]) -> bytes:
    """A key or datum as registers hold it: one field as it is, several each padded to four bytes."""
    if len(value) == 1:
        return value[0]
    return b"".join([field + b"\0" * (-len(field) & 3) for field in value])


def types_of(number: int) -> list[DataType] | None:
    """The types a set's type number stands for, None where one is none of ours."""
    found = []
    while number:
        known = BY_NUMBER.get(number & ((1 << TYPE_BITS) - 1))
        if known is None:
            return None
        found.append(known)
        number >>= TYPE_BITS
    return found[::-1]


def unpack(data: bytes, number: int) -> tuple[bytes, ...]:
    """A key or datum of this type number, field by field. Of types that are none of ours: all of it as one."""
    types = types_of(number)
    if types is None or len(types) <= 1:
        return (data,)
    fields, at = [], 0
    for known in types:
        fields.append(data[at : at + known.size])
        at += padded(known.size)
    return tuple(fields)


def write(data: bytes, number: int) -> str:
    """A key or datum of this type number as nft writes it; hexadecimal where the type is none of ours."""
    types = types_of(number)
    if not types or sum(padded(known.size) for known in types) != padded(len(data)):
        return "0x" + data.hex()
    return " . ".join(known.write(part) for known, part in zip(types, unpack(data, number), strict=True))
