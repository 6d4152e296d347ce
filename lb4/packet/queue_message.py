"""The netlink messages of packet queues, as bytes (linux/netfilter/nfnetlink_queue.h).

The rule: packing and unpacking alone; nothing here knows a socket.
"""

from __future__ import annotations

import socket
from struct import Struct

SUBSYSTEM = 3 << 8
PACKET, VERDICT, CONFIG = SUBSYSTEM, SUBSYSTEM | 1, SUBSYSTEM | 2
A_PACKET_HDR, A_VERDICT_HDR, A_MARK, A_PAYLOAD = 1, 2, 3, 10
CFG_CMD, CFG_PARAMS, CFG_QUEUE_MAXLEN, CFG_MASK, CFG_FLAGS = 1, 2, 3, 4, 5
CMD_BIND = 1
COPY_PACKET = 2
F_FAIL_OPEN = 1
NF_DROP, NF_ACCEPT, NF_QUEUE = 0, 1, 3

REQUEST, ACKNOWLEDGE = 1, 4
COPY_MAX = 0xFFFF - 4
"""An attribute's length has 16 bits and counts its own header of four."""
ATTRIBUTES_AT = 20
ID = slice(24, 28)
"""Where the packet's number stands: NFQA_PACKET_HDR is the first attribute."""

_MESSAGE = Struct("=IHHIIBBH")
_TYPE = Struct("=H")
_ATTRIBUTE = Struct("=HH")
_AFTER_LENGTH = Struct("=HHIIBBHHHI")
_VERDICT = Struct("=I24s4s")
_VERDICT_PAYLOAD = Struct("=I24s4sHH")
_VERDICT_MARK = Struct("=I24s4sHHI")


class Verdicts:
    """Packs the verdicts of one queue. A packet is named by its number: four bytes as they came."""

    def __init__(self, queue: int) -> None:
        self._resource = socket.htons(queue)
        self._accept = self._between(NF_ACCEPT)

    def _between(self, verdict: int) -> bytes:
        """What stands between a message's length and the packet's number."""
        return _AFTER_LENGTH.pack(
            VERDICT, REQUEST, 0, 0, 0, 0, self._resource, 12, A_VERDICT_HDR, socket.htonl(verdict)
        )

    def plain(self, verdict: int, packet: bytes) -> bytes:
        """Drops a packet or lets it go on as it is."""
        return _VERDICT.pack(32, self._between(verdict), packet)

    def elsewhere(self, queue: int, packet: bytes) -> bytes:
        """Hands the packet on to another queue."""
        return self.plain(queue << 16 | NF_QUEUE, packet)

    def accept_as(self, packet: bytes, length: int) -> bytes:
        """Lets the packet go on with other bytes, so many, which must follow, padded to four."""
        return _VERDICT_PAYLOAD.pack(36 + length + 3 & ~3, self._accept, packet, length + 4, A_PAYLOAD)

    def accept_marked(self, packet: bytes, mark: int) -> bytes:
        """Lets the packet go on with another mark."""
        return _VERDICT_MARK.pack(40, self._accept, packet, 8, A_MARK, socket.htonl(mark))


def config(queue: int, attributes: bytes, sequence: int) -> bytes:
    """A configuration request that is acknowledged."""
    size = _MESSAGE.size + len(attributes)
    return _MESSAGE.pack(size, CONFIG, REQUEST | ACKNOWLEDGE, sequence, 0, 0, 0, socket.htons(queue)) + attributes


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def attribute_at(data: bytes | memoryview, end: int, kind: int) -> tuple[int, int] | None:
    """Start and end of an attribute's value in a message that ends at `end`, None where it is missing."""
    at = ATTRIBUTES_AT
    while at + 4 <= end:
        length, found = _ATTRIBUTE.unpack_from(data, at)
        if length < 4:
            return None
        if found & 0x7FFF == kind:
            return at + 4, at + length
        at += (length + 3) & ~3
    return None


def kind_of(message: bytes) -> int:
    """The type of a message: PACKET, or 2 for an error."""
    return int(_TYPE.unpack_from(message, 4)[0])
