"""A packet queue of the kernel as the hook needs it: one interface, kept by two implementations.

The rule: every packet gets a verdict, whatever the handler does; a handler that raises has its packet dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lb4.packet.translate import Outcome

Handler = Callable[[bytes, float], Outcome]
"""A packet, from its IP header, and the time: what becomes of it."""

Complain = Callable[[str], None]
"""Told, with a line of text, of what a person should know."""

LENGTH = 16384
"""How many packets may wait in the kernel; above it they are dropped and counted."""


class QueueError(Exception):
    """The queue cannot be had: the message says which and why."""


class PacketQueue(Protocol):
    """One bound queue. Belongs to the network namespace it was opened in.

    copy_limit: the longest packet, in bytes, that comes whole. failed: packets whose handler raised. cut: packets
    that were longer than the copy limit. Both kinds were dropped.
    """

    copy_limit: int
    failed: int
    cut: int

    def fileno(self) -> int:
        """Readable when packets wait."""
        ...

    def process(self) -> None:
        """Gives a verdict on what waits, up to a few hundred packets."""
        ...

    def close(self) -> None:
        """Lets go of the queue; packets without a verdict are dropped by the kernel."""
        ...
