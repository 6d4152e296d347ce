"""Has servers of the lab refuse connections to their echo port, and serve again."""

from __future__ import annotations

from tests.lab import Lab

REFUSING = """add table inet off; add chain inet off in {type filter hook input priority 0;};
add rule inet off in tcp dport 9000 reject with tcp reset"""


class Switch:
    """Has servers refuse connections, and serve again."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.refusing: set[str] = set()

    def off(self, *servers: str) -> None:
        for server in servers:
            self.lab.shell(server, "nft", "-f", "-", stdin=REFUSING)
            self.refusing.add(server)

    def on(self, *servers: str) -> None:
        for server in servers:
            self.lab.shell(server, "nft", "delete", "table", "inet", "off")
            self.refusing.discard(server)
