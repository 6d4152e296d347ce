"""The configuration file's services as pydantic models: backends, affinity, health, TLS to backends.

The rule: as in `schema`, of which this is the part about services.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, WithJsonSchema, WrapValidator
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from cli.config import values
from cli.config.fields import Count, Duration, Fraction, Keys, Port, SchedulerText, ServerName, Target, Text
from cli.config.schema_http import HttpServiceKeys
from lb4.model import Scheduler, SchedulerKind

Weight = Annotated[int, Field(ge=0, le=65535)]


class BackendSchema(Keys):
    """One backend. A text stands for a mapping with `address` alone."""

    address: Target
    """An address with or without a port, or `dns:NAME:PORT` for all addresses of a name. Without a port, the client's
    port is kept."""
    weight: Weight = 1
    """Its share of new flows among the weights of the service; 0 takes none."""
    backup: bool = False
    """Whether it serves only when no other backend is up."""


def _backend(value: object, mapping: ValidatorFunctionWrapHandler) -> BackendSchema:
    if isinstance(value, str):
        return BackendSchema.model_construct(address=values.target(value))
    return mapping(value)  # type: ignore[no-any-return]


class AffinitySchema(Keys):
    """The same client keeps its backend."""

    key: Literal["client-ip", "header", "cookie"] = "client-ip"
    """What tells clients apart; `header` and `cookie` in mode `http` alone."""
    name: Text | None = None
    """The name of the header or cookie."""
    timeout: Duration = 600.0
    """How long after its last flow a client is remembered."""


def _statuses(value: object) -> tuple[tuple[int, int], ...]:
    items = value if isinstance(value, list) else [value]
    return tuple(values.statuses(item) for item in items)


StatusText = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$"}]}
Statuses = Annotated[
    tuple[tuple[int, int], ...],
    PlainValidator(_statuses),
    WithJsonSchema({"anyOf": [*StatusText["anyOf"], {"type": "array", "items": StatusText}]}, mode="validation"),
]


class HealthSchema(Keys):
    """How backends are probed by `lbctl run`."""

    type: Literal["tcp", "http", "https", "udp", "icmp", "exec"]
    """`tcp` connects, `http` and `https` ask and judge the answer, `udp` sends a payload, `icmp` sends an echo request,
    `exec` runs a command."""
    every: Duration = 2.0
    """Between two probes of a backend."""
    timeout: Duration = 1.0
    """For one probe to succeed."""
    rise: Count = 2
    """Good results in a row that make a backend `up`."""
    fall: Count = 3
    """Bad results in a row that make it `down`."""
    jitter: Fraction = 0.1
    """The fraction of `every` by which each wait differs at random."""
    port: Port | None = None
    """The port to probe. Default: the backend's."""
    path: Annotated[str, Field(pattern=r"^/[^\s\x00-\x1f]*$")] = "/"
    """`http` and `https`: the path to ask for."""
    host: ServerName | None = None
    """`http` and `https`: the Host header, and the name that the certificate must bear. Default: the address."""
    statuses: Statuses = ((200, 399),)
    """`http` and `https`: the statuses that are good, such as `200`, `200-299` or a list of them."""
    body_match: Text | None = None
    """`http` and `https`: a regular expression that must match somewhere in the first 64 KiB of the body."""
    verify: bool = True
    """`https`: whether the certificate must be valid."""
    ca: Text | None = None
    """`https`: a file of certificates to trust instead of the system's."""
    payload: str | None = None
    """`udp`: what is sent; `\\xNN` stands for a byte. Needed with `expect`."""
    expect: Text | None = None
    """`udp`: how the answer must start. Without it, any answer or silence is good, and port-unreachable is bad."""
    command: Annotated[list[Text], Field(min_length=1)] | None = None
    """`exec`: a command and its arguments; status 0 is good. It finds LBCTL_ADDRESS and LBCTL_PORT set."""


class BackendTlsSchema(Keys):
    """TLS from the balancer to the backends of a service."""

    verify: bool = True
    """Whether the backend's certificate must be valid."""
    ca: Text | None = None
    """A file of certificates to trust instead of the system's."""
    server_name: ServerName | None = None
    """The name asked for and expected in the certificate. Default: the backend's name or address."""
    cert: Text | None = None
    """The balancer's own certificate, for backends that ask for one."""
    key: Text | None = None
    """The key of `cert`."""


def _tls(value: object, mapping: ValidatorFunctionWrapHandler) -> BackendTlsSchema | None:
    if isinstance(value, bool):
        return BackendTlsSchema.model_construct() if value else None
    return mapping(value)  # type: ignore[no-any-return]


class ServiceSchema(HttpServiceKeys):
    """A named set of backends with one scheduler, affinity and health check."""

    scheduler: SchedulerText = Scheduler(SchedulerKind.ROUND_ROBIN)
    """How a backend is picked for a new flow."""
    affinity: AffinitySchema | None = None
    """Whether the same client keeps its backend."""
    health: HealthSchema | None = None
    """How backends are probed. Without it, all count as usable."""
    backends: Annotated[
        list[Annotated[BackendSchema, WrapValidator(_backend, json_schema_input_type=Target | BackendSchema)]],
        Field(min_length=1),
    ]
    """The backends, each as a text or a mapping."""
    slow_start: Duration = 0.0
    """How long the weight of a recovered backend grows from little to all of it."""
    panic_threshold: Fraction = 0.0
    """When less than this fraction of the backends is up, health is ignored and all of them are used."""
    tls: Annotated[BackendTlsSchema | None, WrapValidator(_tls, json_schema_input_type=bool | BackendTlsSchema)] = None
    """Modes `terminate` and `http`: TLS to the backends; `true` takes the defaults."""
    proxy_protocol: Literal["v1", "v2"] | None = None
    """Mode `terminate`: the PROXY protocol header sent to backends, which tells them the client's address."""
    max_connections: Count | None = None
    """Mode `terminate`: connections to one backend at the same time. Mode `http`: requests that all backends together
    have at the same time; each worker keeps an equal part of it, rounded up."""
    max_queued: Count | None = None
    """Mode `http`: requests that may wait while `max_connections` is reached; more are answered 503."""
