"""Which kind of packet queue the workers of mode packet use.

The rule: lbctl's own queue socket, because it measured faster; NetfilterQueue where the environment says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from lb4.packet.queue_netfilterqueue import NetfilterQueueQueue
from lb4.packet.queue_netlink import NetlinkQueue

VARIABLE = "LBCTL_PACKET_QUEUE"


def chosen(environment: Mapping[str, str]) -> type[NetlinkQueue] | type[NetfilterQueueQueue]:
    """By the variable LBCTL_PACKET_QUEUE: `netfilterqueue`, or anything else or nothing for our own."""
    return NetfilterQueueQueue if environment.get(VARIABLE) == "netfilterqueue" else NetlinkQueue
