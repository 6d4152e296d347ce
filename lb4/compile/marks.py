"""Packet marks: how the hook that picks a backend tells the kernel which one.

The rule: a mark lives from the hook (filter, prerouting −150) to the translation (nat, prerouting −100) of one packet;
only the bits of MASK are ours, and a packet that carries somebody else's other bits keeps them.
"""

from __future__ import annotations

from struct import Struct

MASK = 0xFFFF0000
KEEP = 0x0000FFFF
"""What `meta mark set meta mark & KEEP` leaves after the translation."""
BACKENDS_MAX = 0xFFFF
QUEUE_BASE = 4400
"""Queues from here on are lbctl's: QUEUE_BASE for first packets, QUEUE_BASE + 1 + n for packet mode's worker n."""

_SHIFT = 16
_HOST = Struct("=I")


def mark_of(index: int) -> int:
    """The mark of the backend at this place among a service's backends of one family. Raises ValueError past 65534."""
    if not 0 <= index < BACKENDS_MAX:
        raise ValueError(f"no mark for backend number {index}: at most {BACKENDS_MAX} fit")
    return (index + 1) << _SHIFT


def mark_bytes(index: int) -> bytes:
    """The same as four bytes in host order: the key of a map that is looked up by `meta mark`."""
    return _HOST.pack(mark_of(index))


def index_of(mark: int) -> int | None:
    """The backend's place that a mark names, None where our bits name none."""
    return (mark >> _SHIFT) - 1 if mark & MASK else None


def with_mark(mark: int, index: int) -> int:
    """A packet's mark with our bits set to the backend's place."""
    return (mark & KEEP) | mark_of(index)
