"""The metrics of listeners, services and backends, made from the documents that the commands print.

The rule: pure; what `lbctl status` says and what is scraped cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import Metric

from cli.metrics.families import Sample, family
from cli.operations.documents import BackendDocument, ListenerDocument, ServiceDocument, StatusDocument

Value = Callable[[BackendDocument], float]

BACKENDS: dict[str, Value] = {
    "backend_up": lambda b: float(b["health"] != "down"),
    "backend_enabled": lambda b: float(b["admin"] == "enabled"),
    "backend_weight": lambda b: float(b["weight"]),
    "backend_connections_active": lambda b: float(b["connections"]["active"]),
    "backend_connections_total": lambda b: float(b["connections"]["total"]),
    "backend_packets_total": lambda b: float(b["packets"]),
    "backend_bytes_total": lambda b: float(b["bytes"]),
}


def balancing(status: StatusDocument) -> Iterator[Metric]:
    """All that a status says."""
    yield from _listeners(status["listeners"])
    yield from _services(status["services"])
    rows = [(service["name"], backend) for service in status["services"] for backend in service["backends"]]
    for name, value in BACKENDS.items():
        yield family(name, [((service, b["address"]), value(b)) for service, b in rows])
    yield from _queues(status.get("queues", []))


def _listeners(listeners: Iterable[ListenerDocument]) -> Iterator[Metric]:
    rows = list(listeners)
    yield family("listener_info", [((r["name"], r["mode"], r["protocol"], r["service"] or ""), 1.0) for r in rows])
    refused = [((r["name"], why), float(count)) for r in rows for why, count in r["refused"].items()]
    yield family("listener_refused_total", refused)


def _services(services: Iterable[ServiceDocument]) -> Iterator[Metric]:
    rows = list(services)
    yield family("service_backends", [((s["name"],), float(len(s["backends"]))) for s in rows])
    yield family("service_backends_usable", [((s["name"],), float(sum(map(_usable, s["backends"])))) for s in rows])


def _usable(backend: BackendDocument) -> bool:
    return backend["health"] != "down" and backend["admin"] == "enabled" and backend["weight"] > 0


QUEUES = {"queue_waiting": "waiting", "queue_dropped_total": "dropped", "queue_failed_total": "failed"}
QUEUES |= {"queue_flows": "flows"}


def _queues(queues: Iterable[dict[str, int]]) -> Iterator[Metric]:
    rows = list(queues)
    for name, key in QUEUES.items():
        samples: list[Sample] = [((str(row.get("queue", "")),), float(row[key])) for row in rows if key in row]
        yield family(name, samples)
