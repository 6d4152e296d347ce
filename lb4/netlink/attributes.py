"""Netlink attributes as bytes: packing and taking apart, the one place that knows their layout.

The rule: an attribute is a 16-bit length (its own four bytes included) and a 16-bit type in host order, then a
payload padded to four bytes (linux/netlink.h). Integers inside netfilter's attributes are in network order.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

NESTED = 0x8000
TYPE_MASK = 0x3FFF
ATTRIBUTE_MAX = 0xFFFF

_HEADER = Struct("=HH")
_U32 = Struct(">I")
_U64 = Struct(">Q")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

pack_header = _HEADER.pack
unpack_header = _HEADER.unpack_from


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute of this type and payload."""
    size = len(payload)
    return pack_header(size + 4, kind) + payload + _PADDING[size & 3]


def nested(kind: int, payload: bytes) -> bytes:
    """An attribute that holds attributes, each padded already."""
    return pack_header(len(payload) + 4, kind | NESTED) + payload


def u8(kind: int, value: int) -> bytes:
    """A one-byte attribute."""
    return attribute(kind, bytes((value,)))


def u16(kind: int, value: int) -> bytes:
    """A 16-bit attribute in network order."""
    return attribute(kind, value.to_bytes(2, "big"))


def u32(kind: int, value: int) -> bytes:
    """A 32-bit attribute in network order."""
    return pack_header(8, kind) + _U32.pack(value)


def u64(kind: int, value: int) -> bytes:
    """A 64-bit attribute in network order."""
    return pack_header(12, kind) + _U64.pack(value)


def string(kind: int, text: str) -> bytes:
    """A text with its closing NUL."""
    return attribute(kind, text.encode() + b"\0")


def parse(data: bytes, start: int = 0, end: int | None = None) -> dict[int, bytes]:
    """The attributes between two offsets by type, the last of a type winning. Raises struct.error on torn bytes."""
    found = {}
    stop = len(data) if end is None else end
    while start < stop:
        length, kind = unpack_header(data, start)
        found[kind & TYPE_MASK] = data[start + 4 : start + length]
        start += (length + 3) & ~3 or 4
    return found


def items(data: bytes, start: int = 0) -> Iterator[bytes]:
    """The payloads of a list of attributes that are all of one type, in their order."""
    stop = len(data)
    while start < stop:
        length, _ = unpack_header(data, start)
        yield data[start + 4 : start + length]
        start += (length + 3) & ~3 or 4


def text_of(payload: bytes) -> str:
    """A string attribute's text, without its NUL."""
    return payload.rstrip(b"\0").decode(errors="replace")


def number(payload: bytes) -> int:
    """An integer attribute in network order, of any size."""
    return int.from_bytes(payload, "big")
