"""What the keys of a listener of mode `terminate` mean together, and which keys of limits and services are not for it.

The rule: as in `rules`, of which this is the part about mode `terminate`; a key that would do nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from cli.config.errors import KeyPath, Problem
from cli.config.schema import ListenerSchema
from cli.config.schema_http import HttpLimitKeys
from lb4.model import KERNEL_MODES, Listener, Mode, Protocol, Service

HTTP_TIMEOUTS = ("first_byte", "request")
STREAM_KEYS = ("proxy_protocol", "sni", "tls")


def terminate_problems(schema: ListenerSchema, listener: Listener, path: KeyPath) -> Iterator[Problem]:
    """All conflicts inside one listener of mode `terminate`."""
    if listener.protocol is Protocol.UDP:
        for key in STREAM_KEYS:
            if key in schema.model_fields_set:
                yield Problem((*path, key), f"{key} is for tcp; this listener's protocol is udp")
    for key in HTTP_TIMEOUTS:
        if schema.timeouts is not None and getattr(schema.timeouts, key) is not None:
            yield Problem((*path, "timeouts", key), f"mode terminate has no {key}; it is for mode http")
    if schema.tls is not None and schema.sni:
        yield Problem((*path, "sni"), "sni passes TLS through, and tls ends it; leave one of them out")
    if schema.tls is not None and schema.proxy_protocol is not None:
        reason = "a PROXY protocol header stands before TLS, which tls ends first; leave one of them out"
        yield Problem((*path, "proxy_protocol"), reason)


def limit_problems(schema: ListenerSchema, listener: Listener, path: KeyPath) -> Iterator[Problem]:
    """Limits that only mode `http` knows, at listeners of other modes."""
    if schema.limits is None or listener.mode is Mode.HTTP:
        return
    for key in sorted(schema.limits.model_fields_set & HttpLimitKeys.model_fields.keys()):
        yield Problem((*path, "limits", key), f"mode {listener.mode} has no {key}; it is for mode http")


def service_fit_problems(listener: Listener, service: Service, place: KeyPath) -> Iterator[Problem]:
    """What a service asks for that the listener's mode and protocol do not do."""
    whose = f"service {service.name}"
    if listener.mode in KERNEL_MODES | {Mode.PACKET} and service.max_connections:
        yield Problem(place, f"the max_connections of {whose} is for modes terminate and http")
    if listener.mode is not Mode.HTTP and service.max_queued:
        yield Problem(place, f"the max_queued of {whose} is for mode http")
    if listener.protocol is Protocol.UDP and listener.mode is Mode.TERMINATE:
        for key, value in (("tls", service.tls), ("proxy_protocol", service.proxy_protocol)):
            if value:
                yield Problem(place, f"the {key} of {whose} is for tcp; this listener's protocol is udp")
