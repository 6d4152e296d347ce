"""Fragments: the first one's translation is remembered for the rest.

The rule: a fragment that comes before the first of its packet is dropped, and so is one whose first was. (In the kernel
none arrives: conntrack's defragmentation, at prerouting −400, comes before the queue.)
"""

from __future__ import annotations

from lb4.packet.rewrite import Translation

SECONDS = 30.0
"""As long as the kernel keeps fragments (net.ipv4.ipfrag_time)."""
PACKETS_MAX = 1024


class Fragments:
    """Of fragmented packets on their way: which translation their first fragment got."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Translation, float]] = {}

    def remember(self, fragment: bytes, translation: Translation, now: float) -> None:
        """A first fragment was translated; of too many the oldest is forgotten."""
        self._known.pop(fragment, None)
        if len(self._known) >= PACKETS_MAX:
            del self._known[next(iter(self._known))]
        self._known[fragment] = translation, now + SECONDS

    def recall(self, fragment: bytes, now: float) -> Translation | None:
        """What the first fragment got, None where it is not known (any more)."""
        translation, deadline = self._known.get(fragment, (None, 0.0))
        return translation if deadline > now else None
