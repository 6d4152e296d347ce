"""Entrances: the binds of a listener whose packets are translated alike.

The rule: in one entrance either every backend has a port, or none has and packets keep the port they came to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lb4.address import Bind, Endpoint, Family
from lb4.compile.names import SUFFIX
from lb4.model import Backend, Listener, Service


class CompileError(ValueError):
    """The kernel cannot forward this as it is written; the message names the listener and says what would be right."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """The binds of one family of a listener, and the backends behind them.

    label: what names of sets and chains end in. backends: all, also those that get no new flow; eligible: those that
    do. with_port: backends have ports of their own.
    """

    listener: Listener
    service: Service
    family: Family
    label: str
    binds: tuple[Bind, ...]
    backends: tuple[Backend, ...]
    eligible: tuple[Backend, ...]
    with_port: bool


def entrances(listener: Listener, service: Service) -> Iterator[Entrance]:
    """The entrances of a listener: one per family, and one per port where only some backends have a port."""
    for family in listener.families:
        backends, binds = service.of_family(family), listener.binds_of(family)
        ported = sum(backend.endpoint.port is not None for backend in backends)
        label = f"{listener.name}-{SUFFIX[family]}"
        whole = Entrance(listener, service, family, label, binds, backends, service.eligible(family), ported > 0)
        if ported in (0, len(backends)):
            yield whole
        else:
            yield from _by_port(whole)


def _by_port(whole: Entrance) -> Iterator[Entrance]:
    """A backend without a port has the port that the client asked for: an entrance for each such port."""
    name, ports = whole.listener.name, sorted({bind.first for bind in whole.binds})
    if any(bind.is_range for bind in whole.binds):
        raise CompileError(f"listener {name}: before a range of ports, either no backend has a port or all of them")
    for port in ports:
        yield replace(
            whole,
            label=whole.label if len(ports) == 1 else f"{name}/{port}-{SUFFIX[whole.family]}",
            binds=tuple(bind for bind in whole.binds if bind.first == port),
            backends=tuple(_with_port(backend, port) for backend in whole.backends),
            eligible=tuple(_with_port(backend, port) for backend in whole.eligible),
        )


def _with_port(backend: Backend, port: int) -> Backend:
    endpoint = backend.endpoint
    return backend if endpoint.port else replace(backend, endpoint=Endpoint(endpoint.ip, port))
