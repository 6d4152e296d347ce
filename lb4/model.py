"""The vocabulary of lbctl as frozen values: listeners, services, backends and what is asked of them.

The rule: nothing here was read from a file or a kernel unchecked, and nothing here does I/O. Times are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

from lb4.address import FAMILIES, Bind, Endpoint, Family, IPAddress

IPNetwork = IPv4Network | IPv6Network


class Protocol(StrEnum):
    """The transport protocol of a listener."""

    TCP = "tcp"
    UDP = "udp"


class Mode(StrEnum):
    """Who forwards a listener's traffic, and how."""

    NAT = "nat"
    GATEWAY = "gateway"
    PACKET = "packet"
    TERMINATE = "terminate"
    HTTP = "http"


KERNEL_MODES = frozenset({Mode.NAT, Mode.GATEWAY})
ROUTED_MODES = KERNEL_MODES | {Mode.PACKET}
"""The modes whose packets the host forwards by its routing table, whoever rewrites them."""


class SchedulerKind(StrEnum):
    """How a service picks a backend."""

    ROUND_ROBIN = "round-robin"
    RANDOM = "random"
    SOURCE_HASH = "source-hash"
    MAGLEV = "maglev"
    LEAST_CONNECTIONS = "least-connections"
    PYTHON = "python"


class AdminState(StrEnum):
    """What the operator wants of a backend."""

    ENABLED = "enabled"
    DRAINING = "draining"
    DISABLED = "disabled"


class Health(StrEnum):
    """What checks found of a backend."""

    UP = "up"
    DOWN = "down"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class Scheduler:
    """A scheduler's kind and, for `python`, the module and function that pick."""

    kind: SchedulerKind = SchedulerKind.ROUND_ROBIN
    module: str = ""
    function: str = ""

    def __str__(self) -> str:
        python = self.kind is SchedulerKind.PYTHON
        return f"python:{self.module}:{self.function}" if python else self.kind.value

    @property
    def needs_process(self) -> bool:
        """Whether the kernel cannot pick this way alone."""
        return self.kind in (SchedulerKind.LEAST_CONNECTIONS, SchedulerKind.PYTHON)


@dataclass(frozen=True, slots=True)
class Affinity:
    """The same client keeps its backend: key `client-ip`, `header` or `cookie`; idle timeout in seconds."""

    key: str = "client-ip"
    name: str = ""
    timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How a service's backends are probed; `every`, `timeout` and `jitter` in seconds, jitter a fraction of every."""

    type: str
    every: float = 2.0
    timeout: float = 1.0
    rise: int = 2
    fall: int = 3
    jitter: float = 0.1
    port: int | None = None
    path: str = "/"
    host: str = ""
    statuses: tuple[tuple[int, int], ...] = ((200, 399),)
    body_match: str = ""
    verify: bool = True
    ca: str = ""
    payload: bytes = b""
    expect: bytes = b""
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Backend:
    """One address and port with a weight, and what is known and wanted of it.

    name is the DNS name it was resolved from, or empty.
    """

    endpoint: Endpoint
    weight: int = 1
    backup: bool = False
    admin: AdminState = AdminState.ENABLED
    health: Health = Health.UNCHECKED
    name: str = ""

    @property
    def usable(self) -> bool:
        """Whether a new flow may go to it."""
        return self.weight > 0 and self.admin is AdminState.ENABLED and self.health is not Health.DOWN

    def __str__(self) -> str:
        return str(self.endpoint)


@dataclass(frozen=True, slots=True)
class DnsBackend:
    """A name that stands for all addresses DNS gives for it, each a backend of this port and weight."""

    name: str
    port: int
    weight: int = 1
    backup: bool = False

    def __str__(self) -> str:
        return f"dns:{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class BackendTls:
    """TLS from the balancer to the backends: verification by `ca` (a file, or empty for the system's)."""

    verify: bool = True
    ca: str = ""
    server_name: str = ""
    cert: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A named set of backends with one scheduler, affinity and health check.

    panic_threshold: the fraction of healthy backends below which health is ignored; 0 never ignores it.
    proxy_protocol: 0, or the version sent to the backends (`terminate` mode).
    """

    name: str
    backends: tuple[Backend, ...] = ()
    names: tuple[DnsBackend, ...] = ()
    scheduler: Scheduler = field(default_factory=Scheduler)
    affinity: Affinity | None = None
    health: HealthCheck | None = None
    slow_start: float = 0.0
    panic_threshold: float = 0.0
    tls: BackendTls | None = None
    proxy_protocol: int = 0
    max_connections: int = 0
    max_queued: int = 0

    def of_family(self, family: Family) -> tuple[Backend, ...]:
        """Its backends of one address family, in the order of the file."""
        return tuple(b for b in self.backends if b.endpoint.family == family)

    def eligible(self, family: Family | None = None) -> tuple[Backend, ...]:
        """The backends a new flow may go to: usable ones, backups only when no other is left."""
        pool = self.backends if family is None else self.of_family(family)
        usable = tuple(b for b in self._panicked(pool) if b.usable)
        return tuple(b for b in usable if not b.backup) or usable

    def _panicked(self, pool: tuple[Backend, ...]) -> tuple[Backend, ...]:
        checked = [b for b in pool if b.admin is AdminState.ENABLED]
        healthy = sum(b.health is not Health.DOWN for b in checked)
        if not checked or healthy >= self.panic_threshold * len(checked):
            return pool
        return tuple(replace(b, health=Health.UNCHECKED) for b in pool)


@dataclass(frozen=True, slots=True)
class Rate:
    """So many events in so many seconds."""

    count: int
    per: int = 1

    def __str__(self) -> str:
        unit = {1: "s", 60: "m", 3600: "h", 86400: "d"}.get(self.per, f"{self.per}s")
        return f"{self.count}/{unit}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a listener's new flows is let in; None is no limit."""

    connections: int | None = None
    connections_per_client: int | None = None
    new_connections: Rate | None = None
    new_connections_per_client: Rate | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """An address, a port and a protocol where clients arrive, and what is done with them.

    service is empty for mode `http`, whose routes name services. allow empty means: everybody. snat: source
    addresses of `nat` mode; empty means the address of the outgoing interface.
    """

    name: str
    binds: tuple[Bind, ...]
    protocol: Protocol = Protocol.TCP
    mode: Mode = Mode.NAT
    service: str = ""
    allow: tuple[IPNetwork, ...] = ()
    deny: tuple[IPNetwork, ...] = ()
    limits: Limits = field(default_factory=Limits)
    snat: tuple[IPAddress, ...] = ()

    @property
    def families(self) -> tuple[Family, ...]:
        """The address families of its binds, IPv4 first."""
        present = {bind.family for bind in self.binds}
        return tuple(family for family in FAMILIES if family in present)

    def binds_of(self, family: Family) -> tuple[Bind, ...]:
        """Its binds of one address family, in the order of the file."""
        return tuple(bind for bind in self.binds if bind.family == family)


@dataclass(frozen=True, slots=True)
class Balancer:
    """Everything that layer 4 balances: its listeners and services by name."""

    listeners: Mapping[str, Listener]
    services: Mapping[str, Service]

    def routed_families(self) -> tuple[Family, ...]:
        """The address families of listeners whose packets the host forwards, IPv4 first."""
        found = {f for each in self.listeners.values() if each.mode in ROUTED_MODES for f in each.families}
        return tuple(family for family in FAMILIES if family in found)

    def kernel_listeners(self) -> tuple[Listener, ...]:
        """The listeners that the kernel forwards by itself, in the order of their names."""
        return tuple(self.listeners[n] for n in sorted(self.listeners) if self.listeners[n].mode in KERNEL_MODES)
