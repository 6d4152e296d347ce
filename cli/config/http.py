"""The keys of mode `http` in listeners and services, and how they become the frozen values of lb7.

The rule: `schema` inherits these keys and knows nothing more of them. `named_services`, `problems` and `warnings`
yield paths below the listener or service that is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cli.config.errors import KeyPath, Problem
from cli.config.fields import Keys


class HttpListenerKeys(Keys):
    """What only listeners of mode `http` (and `tls` of mode `terminate`) have."""

    tls: dict[str, Any] | None = None
    """TLS towards clients."""
    auth: dict[str, Any] | list[dict[str, Any]] | None = None
    """What a request must show before any backend is touched."""
    routes: list[dict[str, Any]] | None = None
    """What happens to which request; the first match wins, and without a match the answer is 404."""

    def routed_services(self) -> Iterator[tuple[KeyPath, str]]:
        """The services that the routes name, each with its path below the listener."""
        for number, route in enumerate(self.routes or []):
            service = route.get("service")
            if isinstance(service, str):
                yield ("routes", number, "service"), service

    def problems(self, path: KeyPath) -> Iterator[Problem]:
        """What the keys of mode `http` mean together and wrongly; path is the listener's."""
        yield from ()

    def warnings(self, path: KeyPath) -> Iterator[Problem]:
        """What is allowed and yet hardly meant, as a route that can never match."""
        yield from ()


class HttpServiceKeys(Keys):
    """What only HTTP asks of a service."""

    def problems(self, path: KeyPath) -> Iterator[Problem]:
        """What these keys mean together and wrongly; path is the service's."""
        yield from ()
