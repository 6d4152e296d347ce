"""`drain`, `enable`, `disable`, `weight`: the operator changes one backend at once.

The rule: what the operator wants is remembered before the kernel is told, and taken back where the kernel refuses; it
holds, over every apply and restart, until it is undone. Wanting what the file says leaves it to the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cli.operations.context import Context
from cli.operations.documents import ActiveDocument, AdminDocument
from cli.operations.error import OperationError
from cli.operations.flows import live_flows
from cli.operations.names import backend_of, service_of
from cli.operations.transition import commit, settle, table_of
from cli.operations.wanted import InForce, by_file, required, wanted
from cli.state import Override, Overrides
from lb4.conntrack.attribution import Attribution, is_open
from lb4.model import AdminState, Backend, Service

WEIGHT_MAX = 65535

Wish = Callable[[Override, Backend], Override]
"""What the operator wanted until now and what the file says, to what is wanted now."""


def drain(context: Context, *, service: str, backend: str) -> AdminDocument:
    """No new flow goes to the backend; those it has run on. Raises OperationError."""
    return _change(context, service, backend, lambda over, file: _admin(over, file, AdminState.DRAINING))


def disable(context: Context, *, service: str, backend: str) -> AdminDocument:
    """No new flow goes to the backend, and those it has are ended. Raises OperationError."""
    return _change(context, service, backend, lambda over, file: _admin(over, file, AdminState.DISABLED))


def enable(context: Context, *, service: str, backend: str) -> AdminDocument:
    """The backend takes flows again. Raises OperationError."""
    return _change(context, service, backend, lambda over, file: _admin(over, file, AdminState.ENABLED))


def weight(context: Context, *, service: str, backend: str, weight: int) -> AdminDocument:
    """The backend's share of new flows is by this weight; the file's own undoes it. Raises OperationError."""
    if not 0 <= weight <= WEIGHT_MAX:
        raise OperationError(f"a weight is a number from 0 to {WEIGHT_MAX}, not {weight}", exit=2)
    return _change(
        context, service, backend, lambda over, file: replace(over, weight=None if weight == file.weight else weight)
    )


def active(context: Context, *, service: str, backend: str) -> ActiveDocument:
    """How many open flows the backend has. Raises OperationError."""
    found = required(context)
    named = service_of(found.balancer, service)
    meant = backend_of(named, backend)
    return {"service": service, "backend": str(meant), "active": _active(context, found, named, meant)}


def _admin(override: Override, in_file: Backend, admin: AdminState) -> Override:
    return replace(override, admin=None if in_file.admin is admin else admin)


def _change(context: Context, service: str, backend: str, wish: Wish) -> AdminDocument:
    with context.state.locked():
        found = required(context)
        in_file = backend_of(service_of(by_file(context, found.configuration.balancer), service), backend)
        key = (service, in_file.endpoint)
        overrides = dict(context.state.overrides())
        overrides[key] = wish(overrides.get(key, Override()), in_file)
        after = _remembered(context, found, {k: over for k, over in overrides.items() if not over.is_empty})
        named = service_of(after.balancer, service)
        now = backend_of(named, str(in_file))
        return {
            "service": service,
            "backend": str(now),
            "admin": now.admin.value,
            "weight": now.weight,
            "active": _active(context, after, named, now),
            "warnings": _left(named, now),
        }


def _remembered(context: Context, found: InForce, overrides: Overrides) -> InForce:
    """Saves the overrides and brings them into force. Raises OperationError, KernelError and StateError."""
    old = context.state.overrides()
    context.state.save_overrides(overrides)
    try:
        after = wanted(context, found.configuration.balancer)
        commit(context, table_of(context, after))
    except BaseException:
        context.state.save_overrides(old)
        raise
    # Also where the kernel's table stays as it is: a draining backend is in no turn, and still has flows to end.
    settle(context, [found.balancer], after)
    return replace(found, balancer=after)


def _active(context: Context, found: InForce, service: Service, backend: Backend) -> int:
    owners = Attribution(found.balancer)
    return sum(
        name == service.name and is_open(flow) and owners.backend(service, flow.backend, flow.target.port) is backend
        for _, name, flow in live_flows(context, owners)
    )


def _left(service: Service, changed: Backend) -> list[str]:
    family = changed.endpoint.family
    if service.eligible(family):
        return []
    version = "IPv4" if family == "ip" else "IPv6"
    return [f"service {service.name} has no {version} backend left that takes new flows: clients are refused"]
