"""What a terminate worker counts for one backend of one listener.

The rule: plain numbers, changed in place by the connections that they count; those that are open are counted where
all workers see them too, since a backend's limit is of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from lb4.ledger import Ledger
from lb4.model import Backend


@dataclass(slots=True)
class Tally:
    """Connections open now and ever, bytes and packets of both directions of those that ended, failed attempts.

    packets are the segments to and from the client as TCP counted them (tcp_info, linux/tcp.h), or datagrams.
    """

    backend: Backend
    ledger: Ledger
    active: int = 0
    total: int = 0
    bytes: int = 0
    packets: int = 0
    failures: int = 0

    def begin(self) -> None:
        """A connection is tried."""
        self.active += 1
        self.ledger.add(None, 1)

    def end(self) -> None:
        """It has failed or ended."""
        self.active -= 1
        self.ledger.add(None, -1)

    def fail(self) -> None:
        """It has failed."""
        self.failures += 1
        self.end()

    def full(self, limit: int) -> bool:
        """Whether the backend has so many connections, of all workers; 0 is no limit."""
        return 0 < limit <= self.ledger.live(None)
