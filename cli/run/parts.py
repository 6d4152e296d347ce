"""What each kind of worker is told, made from a configuration and its services as they are now.

The rule: pure; the supervisor's whole knowledge of what a kind needs is here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from cli.config.model import Configuration
from cli.run.names import Names
from lb4.health.target import Target
from lb4.model import Balancer, Listener, Mode, Service
from lb4.packet.part import AssistPart, PacketPart
from lb4.terminate.model import TerminateListener, TerminatePart
from lb4.worker.privileges import CAP_NET_ADMIN
from lb7.files import BackendTlsFiles, Files, TlsFiles
from lb7.names.resolution import names_of
from lb7.part import HttpPart

MODULES = {
    "http": "lb7.worker",
    "terminate": "cli.run.terminate_worker",
    "health": "cli.run.health_worker",
    "names": "cli.run.names_worker",
    "packet": "cli.run.packet_worker",
    "assist": "cli.run.assist_worker",
    "metrics": "cli.run.metrics_worker",
}
SOCKET_MODES = {"http": Mode.HTTP, "terminate": Mode.TERMINATE}
"""The kinds whose listeners have sockets in user space."""
SOCKET_KINDS = (*SOCKET_MODES, "metrics")
"""All kinds with sockets in user space."""
SINGLE = frozenset({"health", "names", "assist", "metrics"})
"""The kinds that have one worker."""


class Sizes(Protocol):
    """How many workers there are of the kinds that have several."""

    size: int
    packet_size: int


def health_part(services: Mapping[str, Service], listeners: Iterable[Listener] = ()) -> tuple[Target, ...]:
    """Every backend of every checked service, probed from where a listener's own traffic comes from."""
    sources = {(each.service, ip.version): ip for each in listeners for ip in reversed(each.snat)}
    return tuple(
        Target(service.name, backend.endpoint, service.health, sources.get((service.name, backend.endpoint.ip.version)))
        for service in services.values()
        if service.health is not None
        for backend in service.backends
    )


def names_part(configuration: Configuration) -> Names | None:
    """The DNS names that backends are given by."""
    names = names_of(configuration.services.values())
    return Names(names, configuration.settings.resolvers) if names else None


def terminate_part(configuration: Configuration, services: Mapping[str, Service], files: Files) -> TerminatePart:
    """The listeners of mode `terminate` and the services they name."""
    listeners = tuple(_terminated(configuration, each) for each in configuration.of_mode(Mode.TERMINATE))
    named = {name for each in listeners for name in (each.listener.service, *each.sni.values())}
    tls = {name: TlsFiles(each.tls, files) for name, each in configuration.terminate.items() if each.tls is not None}
    used = {name: services[name] for name in named if name}
    to_backends = {name: BackendTlsFiles(each.tls, files) for name, each in used.items() if each.tls is not None}
    return TerminatePart(listeners, used, tls, to_backends)


def _terminated(configuration: Configuration, listener: Listener) -> TerminateListener:
    asked = configuration.terminate[listener.name]
    return TerminateListener(
        listener,
        connect_timeout=asked.connect_timeout,
        idle_timeout=asked.idle_timeout,
        accept_proxy=asked.trusted,
        sni=asked.sni,
        terminates_tls=asked.tls is not None,
        transparent=asked.transparent,
    )


def rights_of(part: object) -> tuple[int, ...]:
    """The capabilities that the workers of this part keep, by number: to have a client's address takes one."""
    transparent = isinstance(part, TerminatePart) and any(each.transparent for each in part.listeners)
    return (CAP_NET_ADMIN,) if transparent else ()


def packet_part(configuration: Configuration, services: Mapping[str, Service], workers: int) -> PacketPart | None:
    """The listeners of mode `packet` and their services as they are now."""
    listeners = {each.name: each for each in configuration.of_mode(Mode.PACKET)}
    if not listeners:
        return None
    return PacketPart(_balancer(listeners, services), workers, modules=_directory(configuration))


def assist_part(configuration: Configuration, services: Mapping[str, Service]) -> AssistPart | None:
    """The listeners that the kernel forwards with a scheduler that needs a process."""
    listeners = {
        each.name: each
        for each in configuration.balancer.kernel_listeners()
        if services[each.service].scheduler.needs_process
    }
    return AssistPart(_balancer(listeners, services), _directory(configuration)) if listeners else None


def _balancer(listeners: Mapping[str, Listener], services: Mapping[str, Service]) -> Balancer:
    return Balancer(listeners, {each.service: services[each.service] for each in listeners.values()})


def _directory(configuration: Configuration) -> str:
    """Where the file is: modules of a user's own schedulers lie beside it."""
    return str(Path(configuration.origin).parent) if configuration.origin else ""


def listeners_of(kind: str, configuration: Configuration) -> tuple[Listener, ...]:
    """The listeners whose sockets the workers of a kind serve."""
    if kind == "metrics":
        bind = configuration.settings.metrics
        return () if bind is None else (Listener("metrics", (bind,), mode=Mode.HTTP),)
    mode = SOCKET_MODES.get(kind)
    return configuration.of_mode(mode) if mode else ()


def http_part(configuration: Configuration, services: Mapping[str, Service], files: Files, workers: int) -> HttpPart:
    """The listeners of mode `http` and their services as they are now."""
    http = configuration.http
    now = {name: replace(each, service=services.get(name, each.service)) for name, each in http.services.items()}
    return HttpPart(replace(http, services=now), files, workers)


def parts_of(
    configuration: Configuration, services: Mapping[str, Service], files: Files, sizes: Sizes
) -> dict[str, object | None]:
    """By kind, what its workers are told; None for a kind that has nothing to do. files: those that listeners name."""
    health = health_part(services, configuration.listeners.values())
    terminated = configuration.of_mode(Mode.TERMINATE)
    return {
        "names": names_part(configuration),
        "health": health or None,
        "http": http_part(configuration, services, files, sizes.size) if configuration.http.listeners else None,
        "terminate": terminate_part(configuration, services, files) if terminated else None,
        "packet": packet_part(configuration, services, sizes.packet_size),
        "assist": assist_part(configuration, services),
        "metrics": configuration.settings.metrics,
    }
