"""What a terminate worker counts for one backend of one listener.

The rule: plain numbers, changed in place by the connections that they count.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Connections open now and ever, bytes and packets of both directions of those that ended, failed attempts.

    packets are the segments to and from the client as TCP counted them (tcp_info, linux/tcp.h), or datagrams.
    """

    active: int = 0
    total: int = 0
    bytes: int = 0
    packets: int = 0
    failures: int = 0
