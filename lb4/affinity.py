"""Affinity in a process: which backend a client had, for as long as it keeps coming.

The rule: no clock in it (`now` is an argument, in seconds) and no more than `limit` clients; the one that was away
longest goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from lb4.address import Endpoint

LIMIT = 1 << 20


class AffinityTable:
    """Backends by client key, each entry alive for `timeout` seconds after its last use."""

    def __init__(self, timeout: float, limit: int = LIMIT) -> None:
        """timeout in seconds; limit: the most clients remembered."""
        self._timeout = timeout
        self._limit = limit
        self._entries: OrderedDict[Hashable, tuple[Endpoint, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def backend_of(self, client: Hashable, now: float) -> Endpoint | None:
        """The backend the client had, or None. Looking does not prolong it."""
        entry = self._entries.get(client)
        if entry is None or entry[1] <= now:
            return None
        return entry[0]

    def remember(self, client: Hashable, backend: Endpoint, now: float) -> None:
        """The client has this backend from now on."""
        self._entries[client] = backend, now + self._timeout
        self._entries.move_to_end(client)
        while self._entries and (len(self._entries) > self._limit or self._oldest_expired(now)):
            self._entries.popitem(last=False)

    def _oldest_expired(self, now: float) -> bool:
        return next(iter(self._entries.values()))[1] <= now

    def forget(self, backend: Endpoint) -> None:
        """No client has this backend any more."""
        for client in [client for client, (held, _) in self._entries.items() if held == backend]:
            del self._entries[client]
