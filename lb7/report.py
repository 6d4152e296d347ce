"""What a worker reports of itself: the document of statistics.

The rule: only JSON's values, counts since the worker began, so that the supervisor adds the workers' documents up.

`{"listeners": {name: {"connections": {"active", "total"}, "reasons": {reason: count}, …measures,
"routes": {name: measures}}}, "services": {name: {"in_flight", "waiting", "refused", "backends": {address: {"health",
"admin", "weight", "ejected", "ejections", "failures", "retries", "in_flight", "connections": {"active", "idle",
"total"}, …measures}}}}, "access_log": {"lost"}}`; measures are those of lb7/measures.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import monotonic

from lb7.listener_state import ListenerState
from lb7.service_state import BackendState, ServiceState


def statistics_of(
    listeners: Iterable[ListenerState], services: Iterable[ServiceState], lost: int
) -> Mapping[str, object]:
    """The whole document; lost: lines of the access logs that could not be written."""
    return {
        "listeners": {state.name: _listener(state) for state in listeners},
        "services": {state.name: _service(state) for state in services},
        "access_log": {"lost": lost},
    }


def _listener(state: ListenerState) -> Mapping[str, object]:
    return {
        "connections": {"active": len(state.connections), "total": state.total},
        "reasons": dict(state.reasons),
        **state.measures.document(),
        "routes": {name: measures.document() for name, measures in state.by_route.items()},
    }


def _service(state: ServiceState) -> Mapping[str, object]:
    return {
        "in_flight": state.in_flight,
        "waiting": len(state.waiting),
        "backends": {backend.name: _backend(backend) for backend in state.backends.values()},
    }


def _backend(state: BackendState) -> Mapping[str, object]:
    connections, model = state.connections, state.model
    return {
        "health": model.health.value,
        "admin": model.admin.value,
        "weight": model.weight,
        "ejected": state.record.ejected(monotonic()),
        "ejections": state.record.times,
        "failures": state.failures,
        "retries": state.retries,
        "in_flight": state.in_flight,
        "connections": {"active": connections.active, "idle": connections.idle, "total": connections.opened},
        **state.measures.document(),
    }
