"""The keys of mode `http` in listeners and services as pydantic models: routes, TLS, limits, the access log.

The rule: `schema` inherits these keys and knows nothing more of them. What keys mean together is in `rules_http`.
"""

# ruff: noqa: RUF012 -- pydantic copies the defaults of its models
from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WrapValidator
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from cli.config.errors import KeyPath
from cli.config.fields import Count, Duration, Fraction, Keys, Name, Port, Prefix, Size, Text
from cli.config.fields_http import HeaderName, HeaderValue, Host, Method, PathText, Regex, Status, listed, redirect_keys
from cli.config.schema_http_auth import AuthKeys


class ValueMatchSchema(Keys):
    """How a header or query parameter must be. A text stands for `exact`."""

    exact: str | None = None
    """The whole value."""
    prefix: Text | None = None
    """What the value starts with."""
    regex: Regex | None = None
    """A regular expression for the whole value."""
    present: bool | None = None
    """Whether it is there at all."""


def _exact(value: object, mapping: ValidatorFunctionWrapHandler) -> ValueMatchSchema:
    return mapping({"exact": value} if isinstance(value, str) else value)  # type: ignore[no-any-return]


ValueMatchKeys = Annotated[ValueMatchSchema, WrapValidator(_exact, json_schema_input_type=str | ValueMatchSchema)]


class MatchSchema(Keys):
    """Which requests a route takes; all that is named must hold, and what is not named matches everything."""

    host: Annotated[
        list[Host], Field(min_length=1), BeforeValidator(listed, json_schema_input_type=Host | list[Host])
    ] = []
    """One or several host names: exact, or `*.example.org` for all names below it. The port is not compared."""
    path: PathText | None = None
    """The whole path, without the query."""
    path_prefix: PathText | None = None
    """The first segments of the path: `/pay` takes `/pay` and `/pay/x`, not `/payments`."""
    path_regex: Regex | None = None
    """A regular expression for the whole path."""
    methods: Annotated[list[Method], Field(min_length=1)] = []
    """One of these methods."""
    headers: dict[HeaderName, ValueMatchKeys] = {}
    """Header fields by name."""
    query: dict[Text, ValueMatchKeys] = {}
    """Query parameters by name."""


class RedirectSchema(Keys):
    """Sends the client to another URL: its own, with what is named here replaced.

    A text stands for `https` (the same URL by https, status 308), a path, or a URL.
    """

    status: Literal[301, 302, 303, 307, 308] = 302
    """The status of the answer."""
    scheme: Literal["http", "https"] | None = None
    """The scheme; with it the port becomes the scheme's own."""
    host: Host | None = None
    """The host name."""
    port: Port | None = None
    """The port."""
    path: PathText | None = None
    """The whole path."""
    path_prefix: PathText | None = None
    """What replaces the path that the match names."""
    query: bool = True
    """Whether the query stays."""


class RespondSchema(Keys):
    """Answers without any backend. A number stands for `status`."""

    status: Status = 200
    """The status of the answer."""
    headers: dict[HeaderName, HeaderValue] = {}
    """Its header fields."""
    body: str = ""
    """Its body."""


class RewriteSchema(Keys):
    """What the backend sees instead of what the client sent."""

    path_prefix: PathText | None = None
    """What replaces the path that the match names, `path` or `path_prefix`."""
    host: Host | None = None
    """The Host header."""


class HeaderChangesSchema(Keys):
    """Changes to header fields, in this order."""

    remove: list[HeaderName] = []
    """Removed, all of the name."""
    set: dict[HeaderName, HeaderValue] = {}
    """Set, in place of all of the name."""
    add: dict[HeaderName, HeaderValue] = {}
    """Added after those that are there."""


class HeadersSchema(Keys):
    """Changes to the header fields of requests to backends and of responses to clients."""

    request: HeaderChangesSchema | None = None
    """On the way to the backend."""
    response: HeaderChangesSchema | None = None
    """On the way to the client."""


class TimeoutKeys(Keys):
    """How long to wait; 0 is without end."""

    connect: Duration | None = None
    """For the connection to one backend. Default 5s."""
    first_byte: Duration | None = None
    """Mode `http`: for the head of the response, after the request was sent. Default 60s."""
    idle: Duration | None = None
    """Without a byte in either direction. Default 60s in mode `http`, 1h in mode `terminate`; for UDP, until the
    client's exchange is forgotten: 60s."""
    request: Duration | None = None
    """Mode `http`: for all of one exchange. Default: without end."""


class RetriesSchema(Keys):
    """Trying a request again on another backend, where that is safe. A number stands for `attempts`."""

    attempts: Annotated[int, Field(ge=0, le=10)] = 2
    """How often at most, after the first."""
    on: list[Literal["connect", "reset", "timeout", 500, 502, 503, 504]] = ["connect", "reset"]
    """`connect`: nothing was sent. `reset`: the connection broke before a byte of the response. `timeout`: first_byte.
    A status: the backend answered so. All but `connect` only for idempotent methods."""
    budget: Fraction = 0.2
    """The fraction of a service's requests that may be retries."""


def _redirect(value: object, mapping: ValidatorFunctionWrapHandler) -> RedirectSchema:
    return mapping(redirect_keys(value) if isinstance(value, str) else value)  # type: ignore[no-any-return]


def _status(value: object, mapping: ValidatorFunctionWrapHandler) -> RespondSchema:
    return mapping({"status": value} if isinstance(value, int) else value)  # type: ignore[no-any-return]


def _attempts(value: object, mapping: ValidatorFunctionWrapHandler) -> RetriesSchema:
    return mapping({"attempts": value} if isinstance(value, int) else value)  # type: ignore[no-any-return]


RetriesKeys = Annotated[RetriesSchema, WrapValidator(_attempts, json_schema_input_type=int | RetriesSchema)]


class RouteSchema(Keys):
    """A match, and what happens on it: one of `service`, `split`, `redirect` and `respond`."""

    name: Name | None = None
    """Its name in metrics and the access log. Default: its number, from 1."""
    match: MatchSchema = MatchSchema.model_construct()
    """Which requests it takes. Without it, all."""
    service: Name | None = None
    """The service that serves it."""
    split: Annotated[dict[Name, Annotated[int, Field(ge=0, le=65535)]], Field(min_length=1)] | None = None
    """Several services, each with its share of the requests."""
    redirect: (
        Annotated[RedirectSchema, WrapValidator(_redirect, json_schema_input_type=str | RedirectSchema)] | None
    ) = None
    """Another URL the client is sent to."""
    respond: Annotated[RespondSchema, WrapValidator(_status, json_schema_input_type=int | RespondSchema)] | None = None
    """An answer without any backend."""
    rewrite: RewriteSchema | None = None
    """What the backend sees instead of what the client sent."""
    headers: HeadersSchema | None = None
    """Changes to header fields, after those of the listener."""
    timeouts: TimeoutKeys | None = None
    """Timeouts in place of the listener's."""
    retries: RetriesKeys | None = None
    """Retries in place of the listener's."""
    auth: AuthKeys | None = None
    """What a request must show, in place of the listener's `auth`; `none` asks nothing."""
    connect: bool = False
    """Whether CONNECT is taken, as a tunnel to a backend of the service."""


class CertificateSchema(Keys):
    """A certificate and its key, in PEM files."""

    cert: Text
    """The file of the certificate chain, the listener's own certificate first."""
    key: Text
    """The file of its key, without a passphrase."""


class TlsSchema(Keys):
    """TLS towards clients."""

    certificates: Annotated[list[CertificateSchema], Field(min_length=1)]
    """The certificates; a client gets the one for the name it asks for, or else the first."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest version of TLS that is spoken."""
    ciphers: Text | None = None
    """The cipher suites of TLS 1.2, as an OpenSSL list. Default: those with forward secrecy and authenticated
    encryption."""
    alpn: Annotated[list[Literal["http/1.1"]], Field(min_length=1)] = ["http/1.1"]
    """The protocols offered, in order of preference."""
    client_ca: Text | None = None
    """A file of the authorities whose client certificates are accepted."""
    client_certificates: Literal["none", "optional", "required"] | None = None
    """Whether clients must show a certificate. Default: `required` with `client_ca`, else `none`."""


class HttpLimitKeys(Keys):
    """Mode `http`: what one client may ask."""

    target: Size | None = None
    """Bytes of a request target; above, 414. Default 8KiB."""
    head: Size | None = None
    """Bytes of a request's head; above, 431. Default 32KiB."""
    header_count: Count | None = None
    """Header fields of a request; above, 431. Default 128."""
    body: Size | None = None
    """Bytes of a request's body; above, 413. Default: no limit."""
    head_timeout: Duration | None = None
    """To send a whole head; after it, 408. Default 10s."""
    idle_timeout: Duration | None = None
    """Between two requests of a connection, which is then closed. Default 75s."""
    requests: Count | None = None
    """Requests of one connection; the answer to the last one closes it. Default 100000."""


class AccessLogSchema(Keys):
    """One line for each request. A text stands for `to`."""

    to: Text = "stdout"
    """`stdout`, `off`, or a file."""
    format: Text = "json"
    """`json`, or a template such as `{client} {method} {target} {status}` of the names in the JSON."""


def _log_to(value: object, mapping: ValidatorFunctionWrapHandler) -> AccessLogSchema:
    return mapping({"to": value} if isinstance(value, str) else value)  # type: ignore[no-any-return]


class HttpListenerKeys(Keys):
    """What only listeners of mode `http` (and `tls` of mode `terminate`) have."""

    tls: TlsSchema | None = None
    """TLS towards clients, also in mode `terminate`."""
    auth: AuthKeys | None = None
    """Mode `http`: what a request must show before any backend is touched. Several methods must all agree."""
    routes: list[RouteSchema] = []
    """Mode `http`: what happens to which request. The first match wins; then `service`, where there is one, takes the
    request, else the answer is 404."""
    headers: HeadersSchema | None = None
    """Mode `http`: changes to header fields, on every route."""
    retries: RetriesKeys | None = None
    """Mode `http`: when a request is tried again on another backend."""
    timeouts: TimeoutKeys | None = None
    """Modes `terminate` and `http`: how long to wait."""
    trusted_proxies: list[Prefix] = []
    """Mode `http`: those in front of the balancer whose X-Forwarded-* and Forwarded headers are believed."""
    access_log: (
        Annotated[AccessLogSchema, WrapValidator(_log_to, json_schema_input_type=str | AccessLogSchema)] | None
    ) = None
    """Mode `http`: where one line for each request goes."""
    request_id: HeaderName | None = None
    """Mode `http`: the header that carries the id of a request. Default X-Request-Id."""
    forwarded: bool = False
    """Mode `http`: whether backends get the Forwarded header (RFC 7239) beside X-Forwarded-*."""

    def routed_services(self) -> Iterator[tuple[KeyPath, str]]:
        """The services that the routes name, each with its path below the listener."""
        for number, route in enumerate(self.routes):
            if route.service is not None:
                yield ("routes", number, "service"), route.service
            for name in route.split or ():
                yield ("routes", number, "split", name), name


class EjectionSchema(Keys):
    """Backends that fail real requests are left out for a while."""

    failures: Count = 5
    """Failures in a row: no connection, a reset, a timeout, or a status of 500 and above."""
    duration: Duration = 30.0
    """How long it gets no request."""
    max_fraction: Fraction = 0.5
    """The fraction of the backends that may be left out at once."""


class KeptConnectionsSchema(Keys):
    """Connections to backends that are kept for the next request."""

    max_idle: Annotated[int, Field(ge=0, le=65535)] = 64
    """How many, for each backend and worker."""
    idle_timeout: Duration = 30.0
    """How long without a request."""


def _switched(value: object, mapping: ValidatorFunctionWrapHandler) -> EjectionSchema | None:
    if value is False:
        return None
    return mapping({} if value is True else value)  # type: ignore[no-any-return]


class HttpServiceKeys(Keys):
    """What only HTTP asks of a service."""

    ejection: Annotated[
        EjectionSchema | None, WrapValidator(_switched, json_schema_input_type=bool | EjectionSchema)
    ] = EjectionSchema.model_construct()
    """Mode `http`: whether backends that fail real requests are left out for a while, and when."""
    kept_connections: KeptConnectionsSchema | None = None
    """Mode `http`: connections to backends that are kept for the next request."""
