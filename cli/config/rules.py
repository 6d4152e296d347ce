"""What keys mean together: the conflicts that make a configuration wrong, and what is only worth a warning.

The rule: every check is a function of the schema and the values built from it that yields Problems; none stops at the
first. Checks of one listener are in `rules_listener`, of one service in `rules_service`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from cli.config.errors import KeyPath, Problem
from cli.config.rules_listener import listener_problems, listener_warnings
from cli.config.rules_service import service_problems, service_warnings
from cli.config.schema import FileSchema
from lb4.address import Bind, Family, IPAddress, family_of
from lb4.model import Listener, Protocol, Service

Placed = tuple[Bind, KeyPath, str]


def conflicts(schema: FileSchema, listeners: Mapping[str, Listener], services: Mapping[str, Service]) -> list[Problem]:
    """All that makes the configuration wrong."""
    found = list(bind_conflicts(listeners))
    if schema.metrics is not None:
        found += metrics_conflicts(schema.metrics.bind, listeners)
    for name, listener in listeners.items():
        found += listener_problems(schema.listeners[name], listener, services)
    for name, service in services.items():
        found += service_problems(schema.services[name], service)
    return found


def warnings(schema: FileSchema, listeners: Mapping[str, Listener], services: Mapping[str, Service]) -> list[Problem]:
    """What is allowed and yet hardly meant."""
    found: list[Problem] = []
    used: set[str] = set()
    for name, item in schema.listeners.items():
        used.update(service for _, service in item.named_services())
        found += listener_warnings(item, listeners[name])
    for name, service in services.items():
        if name not in used:
            found.append(Problem(("services", name), "no listener names this service"))
        found += service_warnings(schema.services[name], service)
    return found


def bind_conflicts(listeners: Mapping[str, Listener]) -> Iterator[Problem]:
    """Binds at which the same packet would arrive: equal ones, overlapping ranges, wildcards over an address."""
    by_ip: dict[tuple[Protocol, IPAddress], list[Placed]] = defaultdict(list)
    wildcards: dict[tuple[Protocol, Family], list[Placed]] = defaultdict(list)
    for name, listener in listeners.items():
        for number, bind in enumerate(listener.binds):
            placed = (bind, ("listeners", name, "bind", number), name)
            by_ip[listener.protocol, bind.ip].append(placed)
            if bind.is_wildcard:
                wildcards[listener.protocol, bind.family].append(placed)
    for (protocol, ip), group in by_ip.items():
        if len(group) > 1:
            yield from _overlaps(group)
        if wildcards and not ip.is_unspecified:
            yield from _under_wildcard(group, wildcards.get((protocol, family_of(ip)), []))


def metrics_conflicts(bind: Bind, listeners: Mapping[str, Listener]) -> Iterator[Problem]:
    """Metrics at more than one port, or where clients of a listener arrive: half of them would be told of metrics."""
    path: KeyPath = ("metrics", "bind")
    if bind.is_range:
        yield Problem(path, f"{bind} is a range; metrics take one port")
    for name, listener in listeners.items():
        for other in listener.binds if listener.protocol is Protocol.TCP else ():
            if bind.overlaps(other):
                yield _conflict((bind, path, ""), (other, path, name))


def _overlaps(group: list[Placed]) -> Iterator[Problem]:
    order = sorted(enumerate(group), key=lambda item: (item[1][0].first, item[0]))
    widest = order[0][1]
    for _, placed in order[1:]:
        if widest[0].overlaps(placed[0]):
            yield _conflict(placed, widest)
        if placed[0].last > widest[0].last:
            widest = placed


def _under_wildcard(group: list[Placed], wildcards: list[Placed]) -> Iterator[Problem]:
    for placed in group:
        for wildcard in wildcards:
            if wildcard[0].overlaps(placed[0]):
                yield _conflict(placed, wildcard)


def _conflict(placed: Placed, other: Placed) -> Problem:
    bind, path, name = placed
    whose = "this listener itself" if name == other[2] else f"the listener {other[2]}"
    return Problem(path, f"{bind} overlaps {other[0]} of {whose}; give each its own address or port")
