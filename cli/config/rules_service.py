"""What the keys of one service mean together.

The rule: as in `rules`, of which this is the part about services.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cli.config.errors import KeyPath, Problem, listed, shown
from cli.config.schema_service import HealthSchema, ServiceSchema
from lb4.model import Service

HTTP_CHECKS = ("http", "https")
KEY_TYPES: dict[str, tuple[str, ...]] = {
    "path": HTTP_CHECKS,
    "host": HTTP_CHECKS,
    "statuses": HTTP_CHECKS,
    "body_match": HTTP_CHECKS,
    "verify": ("https",),
    "ca": ("https",),
    "payload": ("udp",),
    "expect": ("udp",),
    "command": ("exec",),
    "port": ("tcp", "http", "https", "udp", "exec"),
}
PORT_CHECKS = frozenset({"tcp", "http", "https", "udp"})


def service_problems(schema: ServiceSchema, service: Service) -> Iterator[Problem]:
    """All conflicts of one service."""
    path: KeyPath = ("services", service.name)
    yield from _twice(schema, path)
    if schema.affinity is not None:
        yield from _affinity(schema, (*path, "affinity"))
    if schema.health is not None:
        yield from _health(schema.health, (*path, "health"))
        yield from _health_port(schema, schema.health, path)
    if schema.tls is not None and bool(schema.tls.cert) != bool(schema.tls.key):
        yield Problem((*path, "tls"), "cert and key need each other")
    if schema.tls and schema.proxy_protocol:
        yield Problem((*path, "proxy_protocol"), "cannot stand before TLS to the backends; leave out it or tls")


def service_warnings(schema: ServiceSchema, service: Service) -> Iterator[Problem]:
    """What is allowed in one service and yet hardly meant."""
    path: KeyPath = ("services", service.name)
    if all(item.weight == 0 for item in schema.backends):
        yield Problem((*path, "backends"), "every backend has weight 0: no new flow is taken")
    if all(item.backup for item in schema.backends):
        yield Problem((*path, "backends"), "every backend is a backup: that is as if none were")
    health = schema.health
    if health is not None and health.timeout > health.every:
        yield Problem((*path, "health", "timeout"), "longer than every: a probe that hangs delays the next one")
    if health is None and schema.slow_start:
        yield Problem((*path, "slow_start"), "without health no backend ever recovers")


def _twice(schema: ServiceSchema, path: KeyPath) -> Iterator[Problem]:
    seen: dict[object, int] = {}
    for number, item in enumerate(schema.backends):
        first = seen.setdefault(item.address, number)
        if first != number:
            place = (*path, "backends", number)
            yield Problem(place, f"the same backend as backends[{first}]; give one of them the weight of both")


def _affinity(schema: ServiceSchema, path: KeyPath) -> Iterator[Problem]:
    affinity = schema.affinity
    if affinity is None:
        return
    if affinity.key == "client-ip" and affinity.name is not None:
        yield Problem((*path, "name"), "client-ip has no name; leave it out, or use key header or cookie")
    if affinity.key != "client-ip" and affinity.name is None:
        yield Problem(path, f"the key name is missing: the name of the {affinity.key}")
    if affinity.timeout < 1:
        yield Problem((*path, "timeout"), "shorter than 1s; write at least 1s")


def _health(health: HealthSchema, path: KeyPath) -> Iterator[Problem]:
    for key in sorted(health.model_fields_set & KEY_TYPES.keys()):
        types = KEY_TYPES[key]
        if health.type not in types:
            yield Problem((*path, key), f"type {health.type} has no {key}; it is for type {listed(types)}")
    if health.type == "exec" and health.command is None:
        yield Problem(path, "type exec takes a command; write command: [/path/to/program, argument]")
    if health.type == "udp" and health.expect is not None and health.payload is None:
        yield Problem((*path, "expect"), "no answer comes without a payload; write what is sent as payload")
    for key, value in (("every", health.every), ("timeout", health.timeout)):
        if value < 0.01:
            yield Problem((*path, key), "shorter than 10ms; write at least 10ms")
    if health.body_match is not None:
        yield from _regex(health.body_match, (*path, "body_match"))


def _regex(pattern: str, path: KeyPath) -> Iterator[Problem]:
    try:
        re.compile(pattern.encode())
    except (re.error, RecursionError, OverflowError) as error:
        yield Problem(path, f"{shown(pattern)} is not a regular expression: {error}")


def _health_port(schema: ServiceSchema, health: HealthSchema, path: KeyPath) -> Iterator[Problem]:
    if health.port is not None or health.type not in PORT_CHECKS:
        return
    for number, item in enumerate(schema.backends):
        if getattr(item.address, "port", 0) is None:
            yield Problem(
                (*path, "backends", number), f"{item.address} has no port to probe; write health: {{port: …}}"
            )
