"""`status`: listeners, services and backends, with what each carried.

The rule: the file as it was applied, the operator's changes, the checks' findings and the kernel's counts meet here;
nothing is counted but by who carried it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cli.operations.context import Context
from cli.operations.documents import BackendDocument, ListenerDocument, ServiceDocument, StatusDocument
from cli.operations.flows import live_flows
from cli.operations.names import service_of
from cli.operations.wanted import in_force
from cli.state import Override, Overrides
from lb4.address import FAMILIES, Endpoint
from lb4.compile.names import PROTOCOL_OF, endpoint_of, shared_name
from lb4.conntrack.attribution import Attribution, is_open
from lb4.kernel.interface import LiveElement
from lb4.model import Backend, Balancer, Limits, Listener, Service

Key = tuple[str, Endpoint]
"""A service's name and a backend's endpoint as the file has it."""


@dataclass(slots=True)
class Carried:
    """What one backend carries and carried."""

    active: int = 0
    total: int = 0
    packets: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Counts:
    """What every backend carried, and what every listener refused, by reason."""

    carried: dict[Key, Carried] = field(default_factory=dict)
    refused: dict[str, Mapping[str, int]] = field(default_factory=dict)

    def of(self, key: Key) -> Carried:
        """A backend's counts, made where there are none yet."""
        found = self.carried.get(key)
        if found is None:
            found = self.carried[key] = Carried()
        return found


def status(context: Context, *, service: str | None = None) -> StatusDocument:
    """All that is in force, or one service with its listeners. Raises OperationError for a service there is none of."""
    found = in_force(context)
    if found is None:
        return {"listeners": [], "services": []}
    balancer, overrides = found.balancer, context.state.overrides()
    names = sorted(balancer.services) if service is None else [service_of(balancer, service).name]
    listeners = [
        listener
        for name, listener in sorted(balancer.listeners.items())
        if service is None or service in found.configuration.services_of(name)
    ]
    counts = counted(context, balancer)
    document: StatusDocument = {
        "listeners": [listener_document(listener, counts.refused) for listener in listeners],
        "services": [service_document(balancer.services[name], counts, overrides) for name in names],
    }
    queues = context.runtime.packet_queues() if context.runtime is not None else ()
    return {**document, "queues": [dict(each) for each in queues]} if queues else document


def counted(context: Context, balancer: Balancer) -> Counts:
    """The counts of kernel, conntrack and processes together."""
    counts, owners = Counts(), Attribution(balancer)
    if balancer.kernel_listeners():
        _count_elements(context, owners, counts)
        counts.refused.update(_refused(context, balancer))
    for _, name, flow in live_flows(context, owners):
        named = balancer.services.get(name)
        backend = None if named is None else owners.backend(named, flow.backend, flow.target.port)
        if backend is not None and is_open(flow):
            counts.of((name, backend.endpoint)).active += 1
    if context.runtime is not None:
        for key, activity in context.runtime.activity().items():
            carried = counts.of(key)
            carried.total += activity.total
            carried.packets += activity.packets
            carried.bytes += activity.bytes
        counts.refused |= context.runtime.refused()
    return counts


def _count_elements(context: Context, owners: Attribution, counts: Counts) -> None:
    for family in FAMILIES:
        for ranges in (False, True):
            for element in context.kernel.elements(shared_name("connection", family, ranges)):
                for carried in _carrier(owners, counts, element):
                    carried.total += element.count.packets
            for element in context.kernel.elements(shared_name("traffic", family, ranges)):
                for carried in _carrier(owners, counts, element):
                    carried.packets += element.count.packets
                    carried.bytes += element.count.bytes


def _carrier(owners: Attribution, counts: Counts, element: LiveElement) -> Iterator[Carried]:
    """The counts of the backend that an element of a bind and a backend counts for; none if it is gone."""
    protocol = PROTOCOL_OF.get(element.low[1])
    if protocol is None:
        # Somebody else put it there, and lbctl has no such elements.
        return
    target = endpoint_of((element.low[0], element.low[2]))
    listener = owners.listener(protocol, target)
    if listener is None:
        return
    service = owners.balancer.services[listener.service]
    backend = owners.backend(service, endpoint_of(element.low[3:]), target.port)
    if backend is not None:
        yield counts.of((service.name, backend.endpoint))


def _refused(context: Context, balancer: Balancer) -> dict[str, dict[str, int]]:
    """By listener, by reason, the packets that its filter chain counted; its comments are the reasons."""
    if not any(_may_refuse(listener, balancer) for listener in balancer.kernel_listeners()):
        return {}
    table, counts = context.kernel.read().table, context.kernel.rule_counts()
    refused: dict[str, dict[str, int]] = {}
    for name, chain in ({} if table is None else table.chains).items():
        if not name.startswith("filter-"):
            continue
        reasons = refused.setdefault(name.removeprefix("filter-"), {})
        for rule, count in zip(chain.rules, counts.get(name, ()), strict=False):
            if rule.comment:
                reasons[rule.comment] = reasons.get(rule.comment, 0) + count.packets
    return refused


def _may_refuse(listener: Listener, balancer: Balancer) -> bool:
    service = balancer.services[listener.service]
    filtered = bool(listener.allow or listener.deny) or listener.limits != Limits()
    return filtered or not all(service.eligible(family) for family in listener.families)


def listener_document(listener: Listener, refused: Mapping[str, Mapping[str, int]]) -> ListenerDocument:
    """The document of one listener."""
    return {
        "name": listener.name,
        "mode": listener.mode.value,
        "protocol": listener.protocol.value,
        "bind": [str(bind) for bind in listener.binds],
        "service": listener.service or None,
        "refused": dict(refused.get(listener.name, {})),
    }


def service_document(service: Service, counts: Counts, overrides: Overrides) -> ServiceDocument:
    """The document of one service."""
    return {
        "name": service.name,
        "scheduler": str(service.scheduler),
        "backends": [
            backend_document(b, counts.of((service.name, b.endpoint)), overrides.get((service.name, b.endpoint)))
            for b in service.backends
        ],
    }


def backend_document(backend: Backend, carried: Carried, override: Override | None) -> BackendDocument:
    """The document of one backend."""
    document: BackendDocument = {
        "address": str(backend),
        "weight": backend.weight,
        "health": backend.health.value,
        "admin": backend.admin.value,
        "connections": {"active": carried.active, "total": carried.total},
        "packets": carried.packets,
        "bytes": carried.bytes,
    }
    if backend.backup:
        document["backup"] = True
    if backend.name:
        document["name"] = backend.name
    if override is not None:
        wanted = {"admin": override.admin and override.admin.value, "weight": override.weight}
        document["override"] = {key: value for key, value in wanted.items() if value is not None}
    return document
