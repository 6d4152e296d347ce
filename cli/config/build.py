"""From the schema's models to the frozen values of lb4.

The rule: one function for each value, and nothing is judged here: the schema has judged each key, `rules` judges
what keys mean together.
"""

from __future__ import annotations

from pathlib import Path

from cli.config import values
from cli.config.model import Settings, Terminate
from cli.config.schema import FileSchema, LimitsSchema, ListenerSchema
from cli.config.schema_http import TimeoutKeys
from cli.config.schema_service import AffinitySchema, BackendSchema, BackendTlsSchema, HealthSchema, ServiceSchema
from lb4.address import Endpoint
from lb4.model import (
    Affinity,
    Backend,
    BackendTls,
    DnsBackend,
    HealthCheck,
    Limits,
    Listener,
    Mode,
    Protocol,
    Service,
)

NO_LIMITS = Limits()
HERE = Path()
IDLE = {"tcp": 3600.0, "udp": 60.0}
"""Seconds without a byte after which a listener of mode `terminate` ends what is open, unless it says another."""
MODES = {mode.value: mode for mode in Mode}
PROTOCOLS = {protocol.value: protocol for protocol in Protocol}


def listener(name: str, schema: ListenerSchema) -> Listener:
    """A listener as all modes know it."""
    return Listener(
        name=name,
        binds=tuple(schema.bind),
        protocol=PROTOCOLS[schema.protocol],
        mode=MODES[schema.mode],
        service=schema.service or "",
        allow=tuple(schema.allow),
        deny=tuple(schema.deny),
        limits=NO_LIMITS if schema.limits is None else limits(schema.limits),
        snat=tuple(schema.snat),
    )


def limits(schema: LimitsSchema) -> Limits:
    """A listener's limits."""
    return Limits(
        connections=schema.connections,
        connections_per_client=schema.connections_per_client,
        new_connections=schema.new_connections,
        new_connections_per_client=schema.new_connections_per_client,
    )


def terminate(schema: ListenerSchema, base: Path = HERE) -> Terminate:
    """What only mode `terminate` asks of a listener."""
    times = schema.timeouts or TimeoutKeys()
    if schema.tls is not None:
        from cli.config.build_http import tls
    return Terminate(
        connect_timeout=5.0 if times.connect is None else times.connect,
        idle_timeout=IDLE[schema.protocol] if times.idle is None else times.idle,
        trusted=() if schema.proxy_protocol is None else tuple(schema.proxy_protocol.trusted),
        transparent=schema.transparent,
        sni=dict(schema.sni),
        tls=None if schema.tls is None else tls(schema.tls, base),
    )


def service(name: str, schema: ServiceSchema, base: Path = HERE) -> Service:
    """A service as all modes know it; base is the directory that file names are relative to."""
    made = [backend(item) for item in schema.backends]
    return Service(
        name=name,
        backends=tuple(item for item in made if type(item) is Backend),
        names=tuple(item for item in made if type(item) is DnsBackend),
        scheduler=schema.scheduler,
        affinity=None if schema.affinity is None else affinity(schema.affinity),
        health=None if schema.health is None else health(schema.health, base),
        slow_start=schema.slow_start,
        panic_threshold=schema.panic_threshold,
        tls=backend_tls(schema.tls, base),
        proxy_protocol=int(schema.proxy_protocol[1]) if schema.proxy_protocol else 0,
        max_connections=schema.max_connections or 0,
        max_queued=schema.max_queued or 0,
    )


def backend(schema: BackendSchema) -> Backend | DnsBackend:
    """A backend by address or by name."""
    if isinstance(schema.address, Endpoint):
        return Backend(endpoint=schema.address, weight=schema.weight, backup=schema.backup)
    name, port = schema.address
    return DnsBackend(name=name, port=port, weight=schema.weight, backup=schema.backup)


def affinity(schema: AffinitySchema) -> Affinity:
    """A service's affinity."""
    return Affinity(key=schema.key, name=schema.name or "", timeout=schema.timeout)


def health(schema: HealthSchema, base: Path = HERE) -> HealthCheck:
    """A service's health check."""
    return HealthCheck(
        type=schema.type,
        every=schema.every,
        timeout=schema.timeout,
        rise=schema.rise,
        fall=schema.fall,
        jitter=schema.jitter,
        port=schema.port,
        path=schema.path,
        host=schema.host or "",
        statuses=schema.statuses,
        body_match=schema.body_match or "",
        verify=schema.verify,
        ca=file_name(schema.ca, base),
        payload=values.payload(schema.payload or ""),
        expect=values.payload(schema.expect or ""),
        command=tuple(schema.command or ()),
    )


def backend_tls(schema: BackendTlsSchema | None, base: Path = HERE) -> BackendTls | None:
    """TLS to a service's backends."""
    if schema is None:
        return None
    return BackendTls(
        verify=schema.verify,
        ca=file_name(schema.ca, base),
        server_name=schema.server_name or "",
        cert=file_name(schema.cert, base),
        key=file_name(schema.key, base),
    )


def file_name(name: str | None, base: Path) -> str:
    """A file as seen from the directory of the configuration; empty where none is named."""
    return str(base / name) if name else ""


def settings(schema: FileSchema) -> Settings:
    """What concerns lbctl itself."""
    return Settings(
        metrics=None if schema.metrics is None else schema.metrics.bind,
        reconcile=schema.reconcile,
        user=schema.user or "nobody",
        resolvers=tuple(map(str, schema.resolvers)),
        group=schema.group or "",
    )
