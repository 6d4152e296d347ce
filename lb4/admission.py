"""Who may open a flow at a listener: its allow and deny lists and its limits.

The rule: asked once per new flow, it decides from values and a clock that is an argument; who asks tells the client.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from lb4.address import IPAddress
from lb4.ledger import Ledger, OwnLedger
from lb4.model import IPNetwork, Limits, Listener


class Refused(StrEnum):
    """Why a packet did not go on."""

    DENIED = "denied"
    LIMIT = "limit"
    NO_BACKEND = "no backend"
    NO_PORT = "no source port"
    TABLE_FULL = "flow table full"
    NO_FLOW = "no such flow"
    SCHEDULER = "scheduler failed"
    FRAGMENT = "fragment without its first"
    MALFORMED = "malformed"


class Prefixes:
    """A set of address prefixes; a look-up costs one probe for each length that occurs."""

    def __init__(self, networks: Iterable[IPNetwork]) -> None:
        self._lengths: dict[tuple[int, int], set[int]] = {}
        for network in networks:
            key = network.version, network.max_prefixlen - network.prefixlen
            self._lengths.setdefault(key, set()).add(int(network.network_address) >> key[1])

    def __contains__(self, ip: IPAddress) -> bool:
        number, version = int(ip), ip.version
        return any(v == version and number >> shift in found for (v, shift), found in self._lengths.items())


class Admission:
    """One listener's door, which asks a ledger how many are in."""

    def __init__(self, listener: Listener, ledger: Ledger | None = None) -> None:
        """ledger: the counts so far, where there are some."""
        self._allow = Prefixes(listener.allow) if listener.allow else None
        self._deny = Prefixes(listener.deny)
        self._limits: Limits = listener.limits
        self.ledger = ledger or OwnLedger()

    def refusal(self, client: IPAddress, now: float) -> Refused | None:
        """Why the client may not open a flow now, None where it may."""
        if client in self._deny or (self._allow is not None and client not in self._allow):
            return Refused.DENIED
        limits, ledger = self._limits, self.ledger
        if limits.connections is not None and ledger.live(None) >= limits.connections:
            return Refused.LIMIT
        each = limits.connections_per_client
        if each is not None and ledger.live(client) >= each:
            return Refused.LIMIT
        return None if self._within_rates(client, now) else Refused.LIMIT

    def _within_rates(self, client: IPAddress, now: float) -> bool:
        each, total = self._limits.new_connections_per_client, self._limits.new_connections
        if each is not None and not self.ledger.take(client, each, now):
            return False
        return total is None or self.ledger.take(None, total, now)

    def opened(self, client: IPAddress) -> None:
        """A flow of this client was opened."""
        self.ledger.add(client, 1)

    def ended(self, client: IPAddress) -> None:
        """A flow of this client ended."""
        self.ledger.add(client, -1)
