"""The configuration file as pydantic models: the whole grammar of listeners and of the file.

The rule: a model says what each key may be by itself; what keys mean together is in `rules`. The docstring under a
key is its description in the JSON Schema and in the reference.
"""

# ruff: noqa: RUF012 -- pydantic copies the defaults of its models
from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, TypeAdapter

from cli.config.errors import KeyPath
from cli.config.fields import Address, BindText, Count, Keys, Name, Prefix, RateText, Text, number
from cli.config.schema_http import HttpLimitKeys, HttpListenerKeys
from cli.config.schema_service import ServiceSchema


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class LimitsSchema(HttpLimitKeys):
    """How much a listener lets in. What is above a limit is refused and counted."""

    connections: Count | None = None
    """Connections at the same time, of all clients together."""
    connections_per_client: Count | None = None
    """Connections at the same time from one client address."""
    new_connections: RateText | None = None
    """New connections in a time, of all clients together."""
    new_connections_per_client: RateText | None = None
    """New connections in a time from one client address."""


class ProxyProtocolSchema(Keys):
    """PROXY protocol from those in front of the balancer."""

    trusted: Annotated[list[Prefix], Field(min_length=1)]
    """The senders whose PROXY protocol header is believed and demanded; from others none is looked for."""


class ListenerSchema(HttpListenerKeys):
    """An address, a port and a protocol where clients arrive, and what is done with them."""

    bind: Annotated[
        list[BindText],
        Field(min_length=1),
        BeforeValidator(_listed, json_schema_input_type=BindText | list[BindText]),
    ]
    """One or several addresses, each with a port or a range of ports."""
    protocol: Literal["tcp", "udp"] = "tcp"
    """The transport protocol."""
    mode: Literal["nat", "gateway", "packet", "terminate", "http"] = "nat"
    """Who forwards and how: `nat` and `gateway` the kernel alone, `packet` lbctl packet by packet, `terminate` two
    connections with bytes copied between them, `http` two connections with requests understood."""
    service: Name | None = None
    """The service whose backends serve it. In mode `http`, the one for requests that no route takes."""
    allow: list[Prefix] = []
    """Only clients in these prefixes are let in. Empty: everybody."""
    deny: list[Prefix] = []
    """Clients in these prefixes are refused, whatever `allow` says."""
    limits: LimitsSchema | None = None
    """Bounds for connections, at the same time and new."""
    snat: Annotated[list[Address], BeforeValidator(_listed, json_schema_input_type=Address | list[Address])] = []
    """The source addresses that backends see in modes `nat` and `packet`; several share the load. Empty: the address
    of the interface that leads to the backend."""
    proxy_protocol: ProxyProtocolSchema | None = None
    """Mode `terminate`: take the client's address from a PROXY protocol header (v1 or v2)."""
    transparent: bool = False
    """Mode `terminate`: the backend sees the client's address. Takes root, and answers that come back through the
    balancer and are handed to it there: docs/terminate.md says how."""
    sni: dict[Text, Name] = {}
    """Mode `terminate`: TLS is passed through to the service of the server name asked for, exact or `*.wildcard`;
    other names go to `service`."""

    def named_services(self) -> Iterator[tuple[KeyPath, str]]:
        """The services that it names, each with its path below the listener."""
        if self.service is not None:
            yield ("service",), self.service
        for host, name in self.sni.items():
            yield ("sni", host), name
        yield from self.routed_services()


class MetricsSchema(Keys):
    """Prometheus metrics of `lbctl run`."""

    bind: BindText
    """The address and port that serve `/metrics`."""


class FileSchema(Keys):
    """A configuration file of lbctl."""

    version: Annotated[Literal[1], BeforeValidator(number)]
    """The version of this grammar: 1."""
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    """Processes for the modes that need one. Default: one per core."""
    listeners: dict[Name, ListenerSchema] = {}
    """Where clients arrive, by name."""
    services: dict[Name, ServiceSchema] = {}
    """Sets of backends, by name."""
    metrics: MetricsSchema | None = None
    """Metrics for Prometheus; none are served without it."""
    reconcile: bool = False
    """Whether `lbctl run` puts the kernel right when somebody else changed the `lbctl` tables."""
    user: Text | None = None
    """The user that workers run as when lbctl was started by root. Default: `nobody`."""
    resolvers: list[Address] = []
    """Name servers that `dns:` backends are looked up by. Empty: the system's."""
    group: Text | None = None
    """The group that may speak to the control socket. Default: root's."""


@lru_cache(maxsize=1)
def file_adapter() -> TypeAdapter[FileSchema]:
    """The validator of whole files, built once when first needed."""
    return TypeAdapter(FileSchema)
