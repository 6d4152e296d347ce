"""What differs between two files beyond layer 4: routes, TLS, timeouts, and what concerns lbctl itself.

The rule: pure; what `apply` brings into force shows here, however small. Of a route the fields that differ are named
without their values: a header that a request must show may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Literal

from cli.config.model import Configuration, Settings
from lb4.changes import ModelChange, changes, differences, shown
from lb4.model import Balancer

if TYPE_CHECKING:
    from lb7.model import HttpListener, Route


def file_changes(
    before: Configuration, in_force: Balancer, after: Configuration, wanted: Balancer
) -> tuple[ModelChange, ...]:
    """All that differs: listeners, services and backends with what they have beyond layer 4, then settings."""
    found = [*changes(in_force, wanted)]
    if (before.text, before.origin) == (after.text, after.origin):
        return tuple(found)
    for kind, name, detail in _beyond(before, after):
        _add(found, kind, name, detail)
    return (*found, *_settings(before, after))


def _add(found: list[ModelChange], kind: Literal["listener", "service"], name: str, detail: str) -> None:
    """Says it with what was found of the same listener or service, or else after all others of its kind."""
    for number, change in enumerate(found):
        if (change.kind, change.name) == (kind, name):
            found[number] = replace(change, detail=", ".join(filter(None, (change.detail, detail))))
            return
    after = [number for number, change in enumerate(found) if change.kind in ("listener", kind)]
    found.insert(after[-1] + 1 if after else 0, ModelChange("change", kind, name, detail))


def _beyond(before: Configuration, after: Configuration) -> Iterator[tuple[Literal["listener", "service"], str, str]]:
    """(kind, name, detail) of what is in both files and differs there in what a process does with it."""
    for name in _differing(before.terminate, after.terminate):
        yield "listener", name, differences(before.terminate[name], after.terminate[name])
    if before.http_or_none is None or after.http_or_none is None:
        return
    listeners, new_listeners = before.http.listeners, after.http.listeners
    for name in _differing(listeners, new_listeners):
        if detail := ", ".join(_listener(listeners[name], new_listeners[name])):
            yield "listener", name, detail
    services, new_services = before.http.services, after.http.services
    for name in _differing(services, new_services):
        if detail := differences(replace(services[name], service=new_services[name].service), new_services[name]):
            yield "service", name, detail


def _differing(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    return (name for name in sorted(before.keys() & after.keys()) if before[name] != after[name])


def _listener(before: HttpListener, after: HttpListener) -> Iterator[str]:
    same = replace(before, listener=after.listener, routes=after.routes, unmatched=after.unmatched)
    if same != after:
        yield differences(same, after)
    yield from _routes((*before.routes, before.unmatched), (*after.routes, after.unmatched))


def _routes(before: Iterable[Route], after: Iterable[Route]) -> Iterator[str]:
    old, new = {route.name: route for route in before}, {route.name: route for route in after}
    yield from (f"route {name} removed" for name in old if name not in new)
    yield from (f"route {name} added" for name in new if name not in old)
    for name, route in old.items():
        if name in new and route != new[name]:
            yield f"route {name}: {' and '.join(_fields(route, new[name]))}"


def _fields(old: Route, new: Route) -> Iterator[str]:
    return (f.name.replace("_", " ") for f in fields(old) if getattr(old, f.name) != getattr(new, f.name))


def _settings(before: Configuration, after: Configuration) -> Iterator[ModelChange]:
    standard = Settings()
    rows = [("workers", None, before.workers, after.workers)]
    rows += [
        (f.name, getattr(standard, f.name), getattr(before.settings, f.name), getattr(after.settings, f.name))
        for f in fields(standard)
    ]
    for name, default, old, new in rows:
        if old != new:
            action: Literal["add", "change", "remove"]
            action = "add" if old == default else "remove" if new == default else "change"
            yield ModelChange(action, "setting", name, f"{shown(old)} → {shown(new)}")
