"""What the keys of one listener mean together, and together with its services.

The rule: as in `rules`, of which this is the part about listeners.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address

from cli.config.errors import KeyPath, Problem, listed, meant, shown
from cli.config.rules_terminate import limit_problems, service_fit_problems, terminate_problems
from cli.config.schema import ListenerSchema
from lb4.address import IPAddress
from lb4.model import ROUTED_MODES, Listener, Mode, Protocol, SchedulerKind, Service

KEY_MODES: dict[str, tuple[Mode, ...]] = {
    "snat": (Mode.NAT, Mode.PACKET),
    "tls": (Mode.TERMINATE, Mode.HTTP),
    "proxy_protocol": (Mode.TERMINATE,),
    "timeouts": (Mode.TERMINATE, Mode.HTTP),
    "transparent": (Mode.TERMINATE,),
    "sni": (Mode.TERMINATE,),
}
OWN_KEYS = frozenset({"bind", "protocol", "mode", "service", "allow", "deny", "limits"})
FAMILY_NAMES = {"ip": "IPv4", "ip6": "IPv6"}


def listener_problems(schema: ListenerSchema, listener: Listener, services: Mapping[str, Service]) -> Iterator[Problem]:
    """All conflicts of one listener."""
    path: KeyPath = ("listeners", listener.name)
    yield from _keys_of_other_modes(schema, listener, path)
    yield from _protocol(listener, path)
    yield from _binds(listener, path)
    yield from _snat(listener, path)
    yield from _services(schema, listener, services, path)
    yield from limit_problems(schema, listener, path)
    if listener.mode is Mode.TERMINATE:
        yield from terminate_problems(schema, listener, path)
    if listener.mode in HTTP_KEYS:
        # Layer 7's code is loaded for who uses it.
        from cli.config.rules_http import http_problems

        yield from http_problems(schema, path)


def listener_warnings(schema: ListenerSchema, listener: Listener) -> Iterator[Problem]:
    """What is allowed in one listener and yet hardly meant."""
    path: KeyPath = ("listeners", listener.name)
    for number, prefix in enumerate(listener.allow):
        if not any(prefix.version == bind.ip.version for bind in listener.binds):
            yield Problem((*path, "allow", number), f"{prefix} is of a family that no bind has")
    if listener.mode in HTTP_KEYS:
        from cli.config.rules_http import http_warnings

        yield from http_warnings(schema, path)


def _keys_of_other_modes(schema: ListenerSchema, listener: Listener, path: KeyPath) -> Iterator[Problem]:
    for key in sorted(schema.model_fields_set - OWN_KEYS):
        modes = KEY_MODES.get(key, (Mode.HTTP,))
        if listener.mode not in modes:
            yield Problem((*path, key), f"mode {listener.mode} has no {key}; it is for mode {listed(modes)}")


def _protocol(listener: Listener, path: KeyPath) -> Iterator[Problem]:
    if listener.mode is Mode.HTTP and listener.protocol is Protocol.UDP:
        yield Problem((*path, "protocol"), "mode http speaks over tcp; leave protocol out or choose another mode")


def _binds(listener: Listener, path: KeyPath) -> Iterator[Problem]:
    for number, bind in enumerate(listener.binds):
        place = (*path, "bind", number)
        if bind.is_wildcard and listener.mode in ROUTED_MODES:
            yield Problem(place, f"mode {listener.mode} takes one address of this host, not {shown(str(bind.ip))}")
        if listener.mode in ROUTED_MODES and has_zone(bind.ip):
            yield Problem(place, f"mode {listener.mode} takes an address without a zone, not {shown(str(bind.ip))}")
        if bind.is_range and listener.mode is Mode.HTTP:
            yield Problem(place, f"mode http takes single ports, not the range {bind.first}-{bind.last}")


def has_zone(ip: IPAddress) -> bool:
    """Whether it is a link-local address with its interface, `fe80::1%eth0`: packets do not carry that."""
    return isinstance(ip, IPv6Address) and ip.scope_id is not None


HTTP_KEYS = (Mode.TERMINATE, Mode.HTTP)
PACKET = ("nat", "gateway", "packet")


def _snat(listener: Listener, path: KeyPath) -> Iterator[Problem]:
    for number, ip in enumerate(listener.snat):
        if not any(ip.version == bind.ip.version for bind in listener.binds):
            yield Problem((*path, "snat", number), f"{ip} is of a family that no bind has; leave it out")
        if ip.is_unspecified or ip.is_multicast or has_zone(ip):
            yield Problem((*path, "snat", number), f"{ip} is not an address of this host")


def _services(
    schema: ListenerSchema, listener: Listener, services: Mapping[str, Service], path: KeyPath
) -> Iterator[Problem]:
    if listener.mode is Mode.HTTP and not (listener.service or schema.routes):
        yield Problem(path, "the key routes is missing; write routes: [{match: {path_prefix: /}, service: NAME}]")
    elif listener.mode is not Mode.HTTP and not (listener.service or schema.sni):
        yield Problem(path, "the key service is missing")
    for place, name in schema.named_services():
        service = services.get(name)
        if service is None:
            choice = meant(name, services) or (f"; known are {_some(services)}" if services else "")
            yield Problem((*path, *place), f"there is no service {shown(name)}{choice}")
        else:
            yield from _fits(listener, service, (*path, *place))
            yield from service_fit_problems(listener, service, (*path, *place))


def _fits(listener: Listener, service: Service, place: KeyPath) -> Iterator[Problem]:
    whose = f"service {service.name}"
    if listener.mode in ROUTED_MODES:
        yield from _fits_packets(listener, service, place)
    elif service.scheduler.kind is SchedulerKind.PYTHON:
        yield Problem(place, f"the scheduler {service.scheduler} of {whose} is for modes {listed(PACKET)}")
    if listener.mode is not Mode.HTTP and service.affinity is not None and service.affinity.key != "client-ip":
        yield Problem(place, f"the affinity of {whose} by {service.affinity.key} is for mode http; use client-ip")
    if listener.mode is not Mode.TERMINATE and service.proxy_protocol:
        yield Problem(place, f"the proxy_protocol of {whose} is for mode terminate")


def _fits_packets(listener: Listener, service: Service, place: KeyPath) -> Iterator[Problem]:
    whose = f"service {service.name}"
    if service.names:
        yield Problem(place, f"{service.names[0]} of {whose} is for modes terminate and http; write its addresses")
    if service.tls is not None:
        yield Problem(place, f"the tls of {whose} is for modes terminate and http")
    for backend in service.backends:
        if has_zone(backend.endpoint.ip):
            yield Problem(
                place, f"{backend} of {whose} is for modes terminate and http: nothing is forwarded to a zone"
            )
    for family in listener.families:
        if not service.of_family(family) and not service.names:
            yield Problem(place, f"the bind has {FAMILY_NAMES[family]} and {whose} no {FAMILY_NAMES[family]} backend")
    yield from _ranges(listener, service, place)


def _ranges(listener: Listener, service: Service, place: KeyPath) -> Iterator[Problem]:
    for bind in listener.binds:
        with_port = next((b for b in service.of_family(bind.family) if b.endpoint.port is not None), None)
        if bind.is_range and with_port is not None:
            advice = f"write {with_port.endpoint.ip}"
            yield Problem(place, f"{bind} is a range and {with_port} of service {service.name} has a port; {advice}")


def _some(names: Mapping[str, object]) -> str:
    first = list(names)[:8]
    return ", ".join(first) + (", …" if len(names) > len(first) else "")
