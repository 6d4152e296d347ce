"""Which numbers of the kernel's one map of slots are whose.

The rule: an entrance's numbers follow from its label, so that a listener that comes or goes leaves the numbers of the
others as they are, but for the few whose blocks it would share. A map serves many listeners: ten thousand with a map
each took the kernel 8 s, with one map for all 14 s, with 64 maps 0.65 s (see lb4.compile.names.SLOT_MAPS).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from lb4.nft.field import Value
from lb4.nft.ruleset import Element

BLOCK_BITS = 12
BLOCKS = 1 << (32 - BLOCK_BITS)
"""Numbers are given out in blocks of 4096, of which 32 bits hold a million."""


_NUMBER = struct.Struct("=I")


def packed(number: int) -> bytes:
    """A number as the map's key has it: in host order."""
    return _NUMBER.pack(number)


@dataclass(slots=True)
class SlotMap:
    """The numbers given out so far."""

    taken: set[int] = field(default_factory=set)
    elements: dict[int, Value] = field(default_factory=dict)

    def add(self, label: str, values: Sequence[Value]) -> int:
        """Gives values the next numbers from one that the label says. Returns that."""
        count = (len(values) - 1 >> BLOCK_BITS) + 1
        block = zlib.crc32(label.encode()) >> BLOCK_BITS
        while block + count > BLOCKS or not self.taken.isdisjoint(range(block, block + count)):
            block = (block + 1) % BLOCKS
        self.taken.update(range(block, block + count))
        first = block << BLOCK_BITS
        self.elements.update(enumerate(values, first))
        return first

    def finished(self) -> tuple[Element, ...]:
        """The map's elements, a number ascending."""
        return tuple([Element((packed(number),), None, value) for number, value in sorted(self.elements.items())])
