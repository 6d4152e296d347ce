"""Captures as files: pcapng, with a comment on each packet.

The rule: packets start with their IP header (LINKTYPE_RAW); times are nanoseconds. Source: draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

from struct import Struct
from typing import BinaryIO

from cli.trace.sighting import Passage

LINKTYPE_RAW = 101
SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
BYTE_ORDER = 0x1A2B3C4D
COMMENT, INTERFACE_NAME, RESOLUTION, APPLICATION = 1, 2, 9, 4
NANOSECONDS = 9

_BLOCK = Struct("=II")
_LENGTH = Struct("=I")
_OPTION = Struct("=HH")
_SECTION = Struct("=IHHq")
_INTERFACE = Struct("=HHI")
_PACKET = Struct("=IIIII")


class PcapngWriter:
    """A file being written; interfaces are described when their first packet comes."""

    def __init__(self, file: BinaryIO) -> None:
        """file: empty, opened for binary writing; it stays the caller's to close."""
        self._file = file
        self._interfaces: dict[str, int] = {}
        self._block(SECTION, _SECTION.pack(BYTE_ORDER, 1, 0, -1) + _options((APPLICATION, b"lbctl trace")))

    def write(self, time: float, interface: str, data: bytes, comment: str) -> None:
        """A packet from its IP header, seen at a time in seconds since the epoch."""
        if interface not in self._interfaces:
            self._interfaces[interface] = len(self._interfaces)
            options = _options((INTERFACE_NAME, interface.encode()), (RESOLUTION, bytes((NANOSECONDS,))))
            self._block(INTERFACE, _INTERFACE.pack(LINKTYPE_RAW, 0, 0) + options)
        stamp = round(time * 1e9)
        head = _PACKET.pack(self._interfaces[interface], stamp >> 32, stamp & 0xFFFFFFFF, len(data), len(data))
        self._block(PACKET, head + _padded(data) + _options((COMMENT, comment.encode())))

    def passage(self, passage: Passage) -> None:
        """Both sides of a passage, each with a comment that says which it is."""
        for side, box in (("arrived", passage.arrived), ("left", passage.left)):
            if box is not None:
                seen = box.sighting
                comment = f"flow {passage.flow}, listener {passage.listener}, {passage.direction}, {side}"
                self.write(seen.time, seen.interface, seen.data, comment)

    def _block(self, kind: int, body: bytes) -> None:
        length = len(body) + 12
        self._file.write(_BLOCK.pack(kind, length) + body + _LENGTH.pack(length))
        self._file.flush()


def _options(*options: tuple[int, bytes]) -> bytes:
    return b"".join(_OPTION.pack(kind, len(value)) + _padded(value) for kind, value in options) + _OPTION.pack(0, 0)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
