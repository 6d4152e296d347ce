"""The Internet checksum, whole (RFC 1071) and changed by what changed (RFC 1624, equation 3).

The rule: a checksum that was right stays right and one that was wrong stays wrong: nothing here mends a packet.
"""

from __future__ import annotations

import sys
from array import array


def folded(total: int) -> int:
    """A sum of 16-bit words with its carries added in: 0 to 0xffff."""
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def words(data: bytes) -> int:
    """The folded sum of the 16-bit words of data, an odd last byte padded with zero."""
    padded = array("H", data + b"\0" if len(data) % 2 else data)
    if sys.byteorder == "little":
        padded.byteswap()
    return folded(sum(padded))


def checksum(data: bytes) -> int:
    """The checksum of data in which the checksum field is zero."""
    return ~words(data) & 0xFFFF


def change(old: bytes, new: bytes) -> int:
    """What replacing old by new, both of even length, adds to the sum: ~m + m' of RFC 1624, folded."""
    return folded((~words(old) & 0xFFFF) + words(new))


def changed(value: int, added: int) -> int:
    """The checksum field after a `change` (HC' = ~(~HC + ~m + m'))."""
    total = (~value & 0xFFFF) + added
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def changed_udp(value: int, added: int) -> int:
    """As `changed` for UDP: 0 says that there is none and stays 0; a computed 0 is sent as 0xffff (RFC 768)."""
    return (changed(value, added) or 0xFFFF) if value else 0


def pseudo(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """The sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1)."""
    return folded(words(source) + words(destination) + protocol + length)
