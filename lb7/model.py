"""The vocabulary of layer 7 as frozen values: HTTP listeners, their routes and what happens on each.

The rule: a Route is complete. What a listener sets for all its routes (auth, timeouts, retries, header changes) was
merged into each of them when the configuration was read, so who serves a request asks its route and nothing else.
Times are seconds, sizes bytes. Header names and values are bytes, as they go over the wire; names keep their case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lb4.model import IPNetwork, Listener, Service
from lb7.auth.model import Auth

Header = tuple[bytes, bytes]


class ValueTest(StrEnum):
    """How a header or a query parameter is compared."""

    EXACT = "exact"
    PREFIX = "prefix"
    REGEX = "regex"
    PRESENT = "present"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class ValueMatch:
    """One header (name in lower case) or query parameter that must compare so; `regex` must match the whole value."""

    name: str
    test: ValueTest = ValueTest.PRESENT
    value: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """What a request must be for a route to take it; what is empty matches everything.

    hosts: exact names or `*.example.org`, lower case; one of them must match. At most one of path (the whole path),
    path_prefix (whole segments: `/pay` takes `/pay` and `/pay/x`, not `/payments`) and path_regex (the whole path).
    """

    hosts: tuple[str, ...] = ()
    path: str = ""
    path_prefix: str = ""
    path_regex: str = ""
    methods: tuple[str, ...] = ()
    headers: tuple[ValueMatch, ...] = ()
    query: tuple[ValueMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What the backend sees instead: path_prefix replaces the part that the match named; None changes nothing."""

    path_prefix: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class WeightedService:
    """A service and its share of a route's requests."""

    service: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Forward:
    """To a service, or to several by weight."""

    services: tuple[WeightedService, ...]
    rewrite: Rewrite = field(default_factory=Rewrite)


@dataclass(frozen=True, slots=True)
class Redirect:
    """Answers with a Location: the request's own URL with what is not None replaced; path replaces all of it."""

    status: int = 302
    scheme: str | None = None
    host: str | None = None
    port: int | None = None
    path: str | None = None
    path_prefix: str | None = None
    keep_query: bool = True


@dataclass(frozen=True, slots=True)
class Respond:
    """Answers by itself."""

    status: int = 200
    headers: tuple[Header, ...] = ()
    body: bytes = b""


Action = Forward | Redirect | Respond


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """Header fields removed, then set (all earlier ones of the name replaced), then added."""

    set: tuple[Header, ...] = ()
    add: tuple[Header, ...] = ()
    remove: tuple[bytes, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.set or self.add or self.remove)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """connect: to one backend. first_byte: until the response's head. idle: between two reads. request: all of it.

    0 waits without end. The first two end in 504, idle ends a body or a tunnel, request in 504 if no head was sent.
    """

    connect: float = 5.0
    first_byte: float = 60.0
    idle: float = 60.0
    request: float = 0.0


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request may go to a next candidate, and on what.

    on: `connect` (nothing was sent), `reset` (before a response byte, idempotent requests), `timeout` (first_byte,
    idempotent), or statuses as `503`. budget: retries may be this fraction of a service's requests at most.
    """

    attempts: int = 2
    on: tuple[str, ...] = ("connect", "reset")
    budget: float = 0.2


@dataclass(frozen=True, slots=True)
class Route:
    """One match and all that happens on it. name is unique in its listener, number its place from 1.

    auth: all of them must agree; empty asks nothing. connect: whether CONNECT is tunnelled.
    """

    name: str
    number: int
    match: Match
    action: Action
    auth: tuple[Auth, ...] = ()
    request_headers: HeaderChanges = field(default_factory=HeaderChanges)
    response_headers: HeaderChanges = field(default_factory=HeaderChanges)
    timeouts: Timeouts = field(default_factory=Timeouts)
    retries: Retries = field(default_factory=Retries)
    connect: bool = False


NO_ROUTE_NAME = "no-route"


def no_route(auth: tuple[Auth, ...] = ()) -> Route:
    """What happens to a request that no route matches: the listener's auth, then 404."""
    answer = Respond(404, ((b"Content-Type", b"text/plain; charset=utf-8"),), b"no route\n")
    return Route(name=NO_ROUTE_NAME, number=0, match=Match(), action=answer, auth=auth)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of a certificate chain (PEM, leaf first) and its key."""

    cert: str
    key: str


class ClientCertificates(StrEnum):
    """Whether clients are asked for a certificate."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS towards clients. The first certificate serves those that name no known host.

    ciphers: OpenSSL's list, for TLS 1.2; empty takes the safe ones.
    """

    certificates: tuple[Certificate, ...]
    min_version: str = "1.2"
    max_version: str = "1.3"
    ciphers: str = ""
    alpn: tuple[str, ...] = ("http/1.1",)
    client_ca: str = ""
    client_certificates: ClientCertificates = ClientCertificates.NONE


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one client may ask. None is no limit.

    target: length of the request target (414). head: bytes of a head, header_count: its fields (431). body (413).
    head_timeout: seconds to send a head (408). idle_timeout: between two requests (closed). requests: per connection
    (the last answer closes). Connections per client are the listener's `limits`.
    """

    target: int = 8 * 1024
    head: int = 32 * 1024
    header_count: int = 128
    body: int | None = None
    head_timeout: float = 10.0
    idle_timeout: float = 75.0
    requests: int | None = 100_000


@dataclass(frozen=True, slots=True)
class AccessLog:
    """One line a request to `stdout`, `off` or a file; format `json`, or a template with `{names}` of the JSON."""

    to: str = "stdout"
    format: str = "json"


@dataclass(frozen=True, slots=True)
class HttpListener:
    """A listener of mode `http`. trusted_proxies: the peers whose X-Forwarded-* and Forwarded are believed.

    unmatched is the route of requests that no other takes. forwarded: also send RFC 7239's Forwarded.
    """

    listener: Listener
    routes: tuple[Route, ...]
    unmatched: Route = field(default_factory=no_route)
    tls: Tls | None = None
    limits: HttpLimits = field(default_factory=HttpLimits)
    trusted_proxies: tuple[IPNetwork, ...] = ()
    access_log: AccessLog = field(default_factory=AccessLog)
    request_id_header: str = "X-Request-Id"
    forwarded: bool = False

    @property
    def name(self) -> str:
        """The listener's name."""
        return self.listener.name

    @property
    def services(self) -> frozenset[str]:
        """The names of the services that its routes send requests to."""
        forwards = [route.action for route in self.routes if isinstance(route.action, Forward)]
        return frozenset(share.service for forward in forwards for share in forward.services)


@dataclass(frozen=True, slots=True)
class Ejection:
    """After so many failures in a row a backend gets no request for so many seconds; at most this fraction at once."""

    failures: int = 5
    duration: float = 30.0
    max_fraction: float = 0.5


@dataclass(frozen=True, slots=True)
class KeptConnections:
    """The backend connections that a worker keeps for the next request: at most so many per backend, so long idle."""

    max_idle: int = 64
    idle_timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class HttpService:
    """A service and what only HTTP asks of it. ejection None: passive failures eject nothing."""

    service: Service
    ejection: Ejection | None = field(default_factory=Ejection)
    kept: KeptConnections = field(default_factory=KeptConnections)

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name


@dataclass(frozen=True, slots=True)
class HttpBalancer:
    """Everything that layer 7 serves: HTTP listeners, and the services their routes name."""

    listeners: Mapping[str, HttpListener]
    services: Mapping[str, HttpService]
