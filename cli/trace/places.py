"""Where the balancer's packets come from and go to: binds of listeners, backends of services.

The rule: a look-up in either costs the same however many there are; ranges of ports alone are gone through.
"""

from __future__ import annotations

from lb4.address import Bind, Endpoint, IPAddress
from lb4.model import Balancer, Listener, Mode

TWO_CONNECTIONS = frozenset({Mode.TERMINATE, Mode.HTTP})
"""Modes in which what leaves is another connection than what arrived."""


class Places:
    """The places of one configuration."""

    def __init__(self, balancer: Balancer, listener: str | None = None) -> None:
        """listener: the only one that is looked at, None for all."""
        self._exact: dict[tuple[str, IPAddress, int], Listener] = {}
        self._ranges: list[tuple[Bind, Listener]] = []
        self._backends: dict[Endpoint, str] = {}
        self.addresses: set[IPAddress] = set()
        for each in balancer.listeners.values():
            if listener in (None, each.name):
                self._add(each)
        for service in balancer.services.values():
            for backend in service.backends:
                self._backends.setdefault(backend.endpoint, service.name)
                self.addresses.add(backend.endpoint.ip)

    def _add(self, listener: Listener) -> None:
        for bind in listener.binds:
            self.addresses.add(bind.ip)
            if bind.is_range or bind.is_wildcard:
                self._ranges.append((bind, listener))
            else:
                self._exact[listener.protocol, bind.ip, bind.first] = listener

    def listener_at(self, protocol: str, at: Endpoint) -> Listener | None:
        """The listener whose clients arrive at an address and port."""
        found = self._exact.get((protocol, at.ip, at.port or 0))
        return found or next((ln for bind, ln in self._ranges if ln.protocol == protocol and _has(bind, at)), None)

    def service_at(self, at: Endpoint) -> str | None:
        """The service that has a backend at an address and port."""
        return self._backends.get(at) or self._backends.get(Endpoint(at.ip))


def _has(bind: Bind, at: Endpoint) -> bool:
    here = bind.ip == at.ip or (bind.is_wildcard and bind.family == at.family)
    return here and bind.first <= (at.port or 0) <= bind.last
