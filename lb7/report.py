"""What a worker reports of itself: the document of statistics.

The rule: only JSON's values, counts since the worker began, so that the supervisor adds the workers' documents up.

`backends` and `flows` are rows as every kind of worker has them (cli/run/runtime.py): of a backend, `active` are
requests in flight and `total` requests ever; a flow is a request under way, or a tunnel. `refused` are connections by
listener and reason. `http` has it all:
`{"listeners": {name: {"connections": {"active", "total"}, "reasons": {reason: count}, ...measures, "routes": {name:
measures}}}, "services": {name: {"in_flight", "waiting", "backends": {address: {"health", "admin", "weight",
"ejected", "ejections", "failures", "retries", "in_flight", "connections": {"active", "idle", "total"},
...measures}}}}, "access_log": {"lost"}}`; measures are those of lb7/measures.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from time import monotonic

from lb4.address import Endpoint, parse_ip
from lb7.backends.service_state import BackendState, ServiceState
from lb7.http1.client_side import ClientConnection
from lb7.listener_state import ListenerState
from lb7.measures import Measures, total

Row = Mapping[str, object]


def statistics_of(listeners: Collection[ListenerState], services: Collection[ServiceState], lost: int) -> Row:
    """The whole document; lost: lines of the access logs that could not be written."""
    by_backend = _by_backend(listeners)
    return {
        "backends": [
            _row(service, backend, by_backend) for service in services for backend in service.backends.values()
        ],
        "flows": [row for listener in listeners for row in _flows(listener)],
        "refused": {state.name: dict(state.not_let_in) for state in listeners},
        "http": {
            "listeners": {state.name: _listener(state) for state in listeners},
            "services": {state.name: _service(state, by_backend) for state in services},
            "access_log": {"lost": lost},
        },
    }


def _by_backend(listeners: Collection[ListenerState]) -> Mapping[tuple[str, str], Measures]:
    """The sums over all routes of all listeners, by service and backend."""
    summed: dict[tuple[str, str], Measures] = defaultdict(Measures)
    for listener in listeners:
        for cells in listener.by_route.values():
            for key, measures in cells.items():
                summed[key].add(measures)
    return summed


def _row(service: ServiceState, backend: BackendState, by_backend: Mapping[tuple[str, str], Measures]) -> Row:
    measures = by_backend.get(backend.key) or Measures()
    return {
        "service": service.name,
        "backend": backend.name,
        "active": backend.in_flight,
        "total": measures.requests + backend.in_flight,
        "packets": 0,
        "bytes": measures.bytes_in + measures.bytes_out,
        "failures": backend.failures,
    }


def _flows(listener: ListenerState) -> Iterator[Row]:
    for connection in listener.connections:
        row = _flow(listener.name, connection)
        if row is not None:
            yield row


def _flow(listener: str, connection: ClientConnection) -> Row | None:
    exchange = connection.exchange
    if exchange is None or exchange.backend is None or exchange.service is None:
        return None
    source = exchange.source
    if source is None:
        return None
    return {
        "listener": listener,
        "service": exchange.service.name,
        "protocol": "tcp",
        "client": _written(connection.address("peername")),
        "target": _written(connection.address("sockname")),
        "source": _written(source),
        "backend": exchange.backend.name,
        "state": "ESTABLISHED",
        "packets": [0, 0],
        "bytes": [exchange.bytes_in, exchange.bytes_out],
    }


def _written(address: tuple[str, int]) -> str:
    return str(Endpoint(parse_ip(address[0].partition("%")[0]), address[1]))


def _listener(state: ListenerState) -> Row:
    return {
        "connections": {"active": len(state.connections), "total": state.total},
        "reasons": dict(state.reasons),
        **total(measures for cells in state.by_route.values() for measures in cells.values()).document(),
        "routes": {name: total(cells.values()).document() for name, cells in state.by_route.items()},
    }


def _service(state: ServiceState, by_backend: Mapping[tuple[str, str], Measures]) -> Row:
    return {
        "in_flight": state.in_flight,
        "waiting": len(state.waiting),
        "backends": {
            backend.name: _backend(backend, by_backend.get(backend.key) or Measures())
            for backend in state.backends.values()
        },
    }


def _backend(state: BackendState, measures: Measures) -> Row:
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
        **measures.document(),
    }
