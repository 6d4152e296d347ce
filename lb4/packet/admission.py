"""Who may open a flow at a listener: its allow and deny lists and its limits.

The rule: asked once per new flow; a denied client gets no answer, one above a limit is told at once, as in the kernel.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from enum import StrEnum

from lb4.address import IPAddress
from lb4.model import IPNetwork, Limits, Listener, Rate

CLIENTS_MAX = 65536


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


class Bucket:
    """A token bucket: so many events in so many seconds, and as many at once, as the kernel modes have it."""

    __slots__ = ("_at", "_rate", "_size", "_tokens")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate.count / rate.per
        self._size = self._tokens = float(max(1, rate.count))
        self._at = float("-inf")

    def take(self, now: float) -> bool:
        """Whether one more fits at this time."""
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Admission:
    """One listener's door. It counts its live flows, in all and by client."""

    def __init__(self, listener: Listener) -> None:
        self._allow = Prefixes(listener.allow) if listener.allow else None
        self._deny = Prefixes(listener.deny)
        self._limits: Limits = listener.limits
        self._live = 0
        self._live_by_client: dict[IPAddress, int] = {}
        self._rate = Bucket(listener.limits.new_connections) if listener.limits.new_connections else None
        self._rates: OrderedDict[IPAddress, Bucket] = OrderedDict()

    def inherit(self, before: Admission) -> None:
        """Goes on with the rates of a listener that this one replaces, where its limits are the same."""
        if before._limits == self._limits:
            self._rate, self._rates = before._rate, before._rates

    def refusal(self, client: IPAddress, now: float) -> Refused | None:
        """Why the client may not open a flow now, None where it may."""
        if client in self._deny or (self._allow is not None and client not in self._allow):
            return Refused.DENIED
        limits = self._limits
        if limits.connections is not None and self._live >= limits.connections:
            return Refused.LIMIT
        each = limits.connections_per_client
        if each is not None and self._live_by_client.get(client, 0) >= each:
            return Refused.LIMIT
        return None if self._within_rates(client, now) else Refused.LIMIT

    def _within_rates(self, client: IPAddress, now: float) -> bool:
        per_client = self._limits.new_connections_per_client
        if per_client is not None and not self._bucket(client, per_client).take(now):
            return False
        return self._rate is None or self._rate.take(now)

    def _bucket(self, client: IPAddress, rate: Rate) -> Bucket:
        bucket = self._rates.pop(client, None) or Bucket(rate)
        if len(self._rates) >= CLIENTS_MAX:
            self._rates.popitem(last=False)
        self._rates[client] = bucket
        return bucket

    def opened(self, client: IPAddress) -> None:
        """A flow of this client was opened."""
        self._live += 1
        self._live_by_client[client] = self._live_by_client.get(client, 0) + 1

    def ended(self, client: IPAddress) -> None:
        """A flow of this client ended."""
        self._live -= 1
        left = self._live_by_client.get(client, 0) - 1
        if left > 0:
            self._live_by_client[client] = left
        else:
            self._live_by_client.pop(client, None)
