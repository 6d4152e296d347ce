"""Recorded captures read: pcap and pcapng, packets given from their IP header on.

The rule: a link type that is not known is said so; a file that ends in the middle of a packet gives what is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, error, unpack_from

PCAP_MICRO, PCAP_NANO = 0xA1B2C3D4, 0xA1B23C4D
SECTION, INTERFACE, SIMPLE, PACKET = 0x0A0D0D0A, 1, 3, 6
BYTE_ORDER = 0x1A2B3C4D
RESOLUTION = 9

ETHERNET, SLL, SLL2 = 1, 113, 276
RAW = frozenset({12, 14, 101, 228, 229})
"""DLT_RAW by all its numbers, and LINKTYPE_IPV4 and LINKTYPE_IPV6 (tcpdump.org/linktypes.html)."""
VLAN, IP_TYPES = frozenset({0x8100, 0x88A8}), frozenset({0x0800, 0x86DD})
_TYPE = Struct("!H")


class CaptureError(ValueError):
    """The file is no capture that can be read: the message says why."""


Captured = tuple[float, bytes]
"""Seconds since the epoch, and a packet from its IP header."""


def captured(data: bytes) -> Iterator[Captured]:
    """The IP packets of a capture file's bytes. Raises CaptureError."""
    if len(data) < 24:
        raise CaptureError("it is too short for a capture")
    for order in "<>":
        (magic,) = unpack_from(order + "I", data)
        if magic in (PCAP_MICRO, PCAP_NANO):
            return _pcap(data, order, 1e6 if magic == PCAP_MICRO else 1e9)
    if unpack_from("<I", data)[0] == SECTION:
        return _pcapng(data)
    raise CaptureError("it is neither pcap nor pcapng")


def _pcap(data: bytes, order: str, unit: float) -> Iterator[Captured]:
    record, (link,) = Struct(order + "IIII"), unpack_from(order + "I", data, 20)
    at = 24
    while at + record.size <= len(data):
        seconds, fraction, length, _ = record.unpack_from(data, at)
        at += record.size
        packet = _network(data[at : at + length], link & 0xFFFF)
        if packet and at + length <= len(data):
            yield seconds + fraction / unit, packet
        at += length


def _pcapng(data: bytes) -> Iterator[Captured]:
    order, at, links = "<", 0, list[tuple[int, float]]()
    while at + 12 <= len(data):
        if unpack_from("<I", data, at)[0] == SECTION:
            order, links = "<" if unpack_from("<I", data, at + 8)[0] == BYTE_ORDER else ">", []
        kind, length = unpack_from(order + "II", data, at)
        if length < 12 or at + length > len(data):
            return
        body = data[at + 8 : at + length - 4]
        try:
            if kind == INTERFACE:
                links.append((unpack_from(order + "H", body)[0], _unit(body, order)))
            elif kind == PACKET:
                yield from _enhanced(body, order, links)
        except (error, IndexError):
            raise CaptureError(f"the block at byte {at} is broken") from None
        at += length


def _enhanced(body: bytes, order: str, links: list[tuple[int, float]]) -> Iterator[Captured]:
    interface, high, low, length, _ = unpack_from(order + "IIIII", body)
    link, unit = links[interface]
    packet = _network(body[20 : 20 + length], link)
    if packet:
        yield (high << 32 | low) / unit, packet


def _unit(body: bytes, order: str) -> float:
    at = 8
    while at + 4 <= len(body):
        kind, length = unpack_from(order + "HH", body, at)
        if kind == RESOLUTION:
            exponent = body[at + 4]
            return float(2 ** (exponent & 0x7F) if exponent & 0x80 else 10**exponent)
        if kind == 0:
            break
        at += 4 + (length + 3 & ~3)
    return 1e6


def _network(frame: bytes, link: int) -> bytes:
    """The packet in a frame, empty where it is not IP. Raises CaptureError for a link type that is not known."""
    if link in RAW:
        return frame
    at = {ETHERNET: 12, SLL: 14, SLL2: 0}.get(link)
    if at is None:
        raise CaptureError(f"its link type {link} is not known: Ethernet, raw IP and Linux cooked captures are")
    while len(frame) >= at + 2 and _TYPE.unpack_from(frame, at)[0] in VLAN:
        at += 4
    if len(frame) < at + 2 or _TYPE.unpack_from(frame, at)[0] not in IP_TYPES:
        return b""
    return frame[20:] if link == SLL2 else frame[at + 2 :]
