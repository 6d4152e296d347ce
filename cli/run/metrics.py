"""Metrics in Prometheus' text format, made from the same documents that the commands print.

The rule: names follow Prometheus' conventions (base units, `_total` for counters); a metric that cannot be read is
left out, and the others are served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cli.operations import perform_here
from cli.operations.context import Context
from cli.operations.documents import BackendDocument, ListenerDocument, ServiceDocument, StatusDocument
from cli.operations.error import OperationError

HEALTH = {"up": 1.0, "unchecked": 1.0, "down": 0.0}
CONNTRACK = Path("/proc/sys/net/netfilter")
BACKEND = ("service", "backend")

Value = Callable[[BackendDocument], float]


class DocumentCollector(Collector):
    """The metrics of one scrape."""

    def __init__(self, status: StatusDocument, others: Iterable[Metric]) -> None:
        """others: what the supervisor itself and its workers count."""
        self._status = status
        self._others = others

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        yield from backend_metrics(self._status["services"])
        yield from listener_metrics(self._status["listeners"])
        yield from conntrack_metrics()
        yield from self._others


def exposition(context: Context, others: Iterable[Metric]) -> str:
    """The text that a scrape gets."""
    registry = CollectorRegistry(auto_describe=False)
    try:
        status: StatusDocument = perform_here(context, "status", {})
    except OperationError:
        status = {"listeners": [], "services": []}
    registry.register(DocumentCollector(status, others))
    return generate_latest(registry).decode()


def backend_metrics(services: Iterable[ServiceDocument]) -> Iterator[Metric]:
    """What is known of every backend."""
    rows = [(service["name"], backend) for service in services for backend in service["backends"]]
    yield _gauge("lbctl_backend_up", "Whether checks let new flows go there (1) or not (0).", rows, _up)
    yield _gauge("lbctl_backend_enabled", "Whether the operator lets new flows go there.", rows, _enabled)
    yield _gauge("lbctl_backend_weight", "The weight in force.", rows, lambda b: b["weight"])
    yield _gauge("lbctl_backend_connections_active", "Open connections.", rows, lambda b: b["connections"]["active"])
    yield _counter("lbctl_backend_connections", "Connections ever.", rows, lambda b: b["connections"]["total"])
    yield _counter("lbctl_backend_packets", "Packets, both directions.", rows, lambda b: b["packets"])
    yield _counter("lbctl_backend_bytes", "Bytes, both directions.", rows, lambda b: b["bytes"])


def _up(backend: BackendDocument) -> float:
    return HEALTH[backend["health"]]


def _enabled(backend: BackendDocument) -> float:
    return float(backend["admin"] == "enabled")


def _gauge(name: str, words: str, rows: Iterable[tuple[str, BackendDocument]], value: Value) -> Metric:
    family = GaugeMetricFamily(name, words, labels=BACKEND)
    for service, backend in rows:
        family.add_metric([service, backend["address"]], value(backend))
    return family


def _counter(name: str, words: str, rows: Iterable[tuple[str, BackendDocument]], value: Value) -> Metric:
    family = CounterMetricFamily(name, words, labels=BACKEND)
    for service, backend in rows:
        family.add_metric([service, backend["address"]], value(backend))
    return family


def listener_metrics(listeners: Iterable[ListenerDocument]) -> Iterator[Metric]:
    """What listeners refused, by reason."""
    refused = CounterMetricFamily("lbctl_listener_refused", "New flows not let in.", labels=("listener", "reason"))
    for listener in listeners:
        for reason, count in listener["refused"].items():
            refused.add_metric([listener["name"], reason], count)
    yield refused


def conntrack_metrics() -> Iterator[Metric]:
    """How full the kernel's table of flows is."""
    for name, words in (("count", "Flows that the kernel tracks."), ("max", "Flows that it can track.")):
        try:
            value = float((CONNTRACK / f"nf_conntrack_{name}").read_text())
        except (OSError, ValueError):
            continue
        yield GaugeMetricFamily(f"lbctl_conntrack_{name}", words, value=value)
