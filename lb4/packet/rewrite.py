"""Rewriting: a packet's addresses and ports replaced, its checksums changed by the difference.

The rule: nothing else of the packet changes, so the translation of the other direction gives back the very bytes.
"""

from __future__ import annotations

from struct import Struct

from lb4.packet.checksum import change, changed, changed_udp
from lb4.packet.parse import TCP, UDP, Header

SUM = Struct("!H")
_V4_SUM_AND_ADDRESSES = Struct("!H8s")
V4_SUM_AND_KEY = Struct("!H12s")
"""IPv4 without options: header checksum, both addresses, both ports: offset 10 to 24."""
V4_SUMS_TCP = Struct("!H24xH")
"""From offset 10: the header's checksum and TCP's."""
V4_SUMS_UDP = Struct("!H14xH")
"""From offset 10: the header's checksum and UDP's."""

SUM_AT = {TCP: 16, UDP: 6}
"""Where the checksum is in the transport header (RFC 9293 section 3.1, RFC 768)."""


class Translation:
    """What one direction of a flow becomes: the new addresses and ports, and what that adds to the checksums."""

    __slots__ = ("added_header", "added_transport", "key", "new")

    def __init__(self, key: bytes, new: bytes) -> None:
        """key and new are as `Header.key`: addresses, then ports."""
        size = len(key) - 4
        self.key = key
        self.new = new
        self.added_header = change(key[:size], new[:size])
        self.added_transport = change(key, new)


def rewritten(data: bytes, header: Header, translation: Translation) -> bytearray:
    """The packet with the translation's addresses, and its ports where the packet (or fragment) has them.

    Works for every Header of the same family; a fragment without a transport header gets new addresses alone.
    """
    out = bytearray(data)
    readdressed(out, header.version, translation)
    size = 2 * header.address_size
    if not header.offset:
        out[header.transport : header.transport + 4] = translation.new[size:]
        resummed(out, header, translation.added_transport)
    return out


def readdressed(out: bytearray, version: int, translation: Translation) -> None:
    """Writes the new addresses into a packet that starts with its IP header, and mends IPv4's header checksum."""
    if version == 4:
        (total,) = SUM.unpack_from(out, 10)
        _V4_SUM_AND_ADDRESSES.pack_into(out, 10, changed(total, translation.added_header), translation.new[:8])
    else:
        out[8:40] = translation.new[:32]


def resummed(out: bytearray, header: Header, added: int) -> None:
    """Changes the transport's checksum by what was added."""
    at = header.transport + SUM_AT[header.protocol]
    (total,) = SUM.unpack_from(out, at)
    new = changed(total, added) if header.protocol == TCP else changed_udp(total, added)
    SUM.pack_into(out, at, new)
