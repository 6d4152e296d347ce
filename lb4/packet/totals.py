"""What went through each backend of each listener: connections, packets and bytes, of flows that live and that ended.

The rule: a flow counts for itself while it lives and is added to the totals when it ends; nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable

from lb4.packet.flow_table import LiveFlow, Owner


class Count:
    """Of one backend of one listener. packets and bytes are of both directions."""

    __slots__ = ("active", "bytes", "packets", "total")

    def __init__(self, total: int = 0, packets: int = 0, volume: int = 0) -> None:
        self.active = 0
        self.total = total
        self.packets = packets
        self.bytes = volume


class Totals:
    """The counts of one worker since it started."""

    def __init__(self) -> None:
        self._counts: dict[Owner, Count] = {}

    def opened(self, owner: Owner) -> None:
        """A new flow was opened."""
        self._counts.setdefault(owner, Count()).total += 1

    def ended(self, flow: LiveFlow) -> None:
        """A flow left the table."""
        _add(self._counts.setdefault(owner_of(flow), Count()), flow)

    def with_live(self, flows: Iterable[LiveFlow]) -> dict[Owner, Count]:
        """Everything, the flows that live included."""
        counts = {owner: Count(c.total, c.packets, c.bytes) for owner, c in self._counts.items()}
        for flow in flows:
            count = counts.setdefault(owner_of(flow), Count())
            _add(count, flow)
            count.active += flow.active
        return counts


def owner_of(flow: LiveFlow) -> Owner:
    """Whose flow it is."""
    return Owner(flow.listener, flow.service, flow.backend)


def _add(count: Count, flow: LiveFlow) -> None:
    count.packets += flow.out.packets + flow.back.packets
    count.bytes += flow.out.bytes + flow.back.bytes
