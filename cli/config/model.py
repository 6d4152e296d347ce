"""A whole configuration as one frozen value: what every command works on.

The rule: it is valid. Who holds a Configuration needs to check nothing of it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lb4.address import Bind
from lb4.model import KERNEL_MODES, BackendTls, Balancer, IPNetwork, Listener, Mode, Service

if TYPE_CHECKING:
    from lb7.model import HttpBalancer, Tls


@dataclass(frozen=True, slots=True)
class Settings:
    """What concerns lbctl itself. user: whom workers run as. group: who may speak to the control socket."""

    metrics: Bind | None = None
    reconcile: bool = False
    user: str = "nobody"
    group: str = ""
    resolvers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Terminate:
    """What a listener of mode `terminate` has besides: times in seconds.

    trusted: senders whose PROXY protocol header is believed; empty takes none. sni: service by server name, passed
    through without ending TLS. tls: TLS that ends here, the bytes going on in the clear.
    """

    connect_timeout: float = 5.0
    idle_timeout: float = 3600.0
    trusted: tuple[IPNetwork, ...] = ()
    transparent: bool = False
    sni: Mapping[str, str] = field(default_factory=dict)
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that a file says. workers None: one per core. warnings: lines for people, nothing that stops anything.

    terminate: by listener, for those of mode `terminate`. http_or_none: None without listeners of mode `http`.
    origin and text: the file it came from, word for word.
    """

    version: int
    workers: int | None
    listeners: Mapping[str, Listener]
    services: Mapping[str, Service]
    settings: Settings = field(default_factory=Settings)
    terminate: Mapping[str, Terminate] = field(default_factory=dict)
    http_or_none: HttpBalancer | None = None
    warnings: tuple[str, ...] = ()
    origin: str = ""
    text: str = ""

    @property
    def balancer(self) -> Balancer:
        """Its layer 4 part."""
        return Balancer(self.listeners, self.services)

    @property
    def http(self) -> HttpBalancer:
        """All that mode `http` serves."""
        # lb7's model is imported where there is something to hold: it is a tenth of the time of a short command.
        from lb7.model import HttpBalancer

        return self.http_or_none or HttpBalancer({}, {})

    @property
    def terminated_tls(self) -> tuple[Tls, ...]:
        """The TLS that listeners of mode `terminate` end."""
        return tuple(each.tls for each in self.terminate.values() if each.tls is not None)

    @property
    def tls_to_backends(self) -> tuple[BackendTls, ...]:
        """The TLS that services speak to their backends."""
        return tuple(each.tls for each in self.services.values() if each.tls is not None)

    def services_of(self, name: str) -> frozenset[str]:
        """The services that the listener of this name sends clients to: its own, and those by server name or route."""
        served = {self.listeners[name].service}
        if name in self.terminate:
            served.update(self.terminate[name].sni.values())
        if self.http_or_none is not None and name in self.http_or_none.listeners:
            served.update(self.http_or_none.listeners[name].services)
        return frozenset(served - {""})

    def of_mode(self, *modes: Mode) -> tuple[Listener, ...]:
        """The listeners of these modes, in the order of their names."""
        return tuple(self.listeners[name] for name in sorted(self.listeners) if self.listeners[name].mode in modes)

    @property
    def needs_kernel(self) -> bool:
        """Whether some listener takes root and kernel tables: all modes but `terminate` and `http`."""
        return any(listener.mode in KERNEL_MODES | {Mode.PACKET} for listener in self.listeners.values())
