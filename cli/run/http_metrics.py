"""What workers of mode `http` counted, as metrics: requests, bytes, latency by listener, route, service and backend.

The rule: what a worker says is not trusted: a document that has not the form of lb7/report.py counts as nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from lb7.measures import BOUNDS

Labels = tuple[str, ...]
LISTENER, ROUTE, BACKEND = ("listener",), ("listener", "route"), ("service", "backend")


@dataclass
class Sum:
    """The measures of one thing over all workers."""

    statuses: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0

    def add(self, document: Mapping[str, object]) -> None:
        """Adds one worker's measures."""
        for name, count in _mapping(document.get("statuses")).items():
            self.statuses[name] += _number(count)
        latency, amount = _mapping(document.get("latency")), _mapping(document.get("bytes"))
        buckets = latency.get("buckets")
        if isinstance(buckets, list) and len(buckets) == len(self.buckets):
            self.buckets = [mine + _number(more) for mine, more in zip(self.buckets, buckets, strict=True)]
        seconds = latency.get("sum")
        self.seconds += seconds if isinstance(seconds, float) else 0.0
        self.bytes_in += _number(amount.get("in"))
        self.bytes_out += _number(amount.get("out"))


def http_metrics(statistics: Iterable[Mapping[str, object]]) -> Iterator[Metric]:
    """The metrics of the workers' statistics; nothing where no worker serves HTTP."""
    documents = [_mapping(each["http"]) for each in statistics if "http" in each]
    if not documents:
        return
    listeners = [item for document in documents for item in _mapping(document.get("listeners")).items()]
    services = [item for document in documents for item in _mapping(document.get("services")).items()]
    routes = [((a, b), c) for a, each in listeners for b, c in _mapping(_mapping(each).get("routes")).items()]
    backends = [((a, b), c) for a, each in services for b, c in _mapping(_mapping(each).get("backends")).items()]
    yield from _measured("listener", LISTENER, [((name,), document) for name, document in listeners])
    yield from _measured("route", ROUTE, routes)
    yield from _measured("backend", BACKEND, backends)
    yield from _of_listeners(listeners)
    yield from _of_backends(backends)
    yield from _of_services(services)


def _measured(kind: str, labels: Labels, documents: Iterable[tuple[Labels, object]]) -> Iterator[Metric]:
    sums: dict[Labels, Sum] = defaultdict(Sum)
    for key, document in documents:
        sums[key].add(_mapping(document))
    requests = CounterMetricFamily(f"lbctl_http_{kind}_requests", "Requests answered.", labels=(*labels, "class"))
    amount = CounterMetricFamily(f"lbctl_http_{kind}_bytes", "Bytes of bodies.", labels=(*labels, "direction"))
    words = "Time from a request's head to the end of its answer."
    latency = HistogramMetricFamily(f"lbctl_http_{kind}_duration_seconds", words, labels=labels)
    for key, summed in sums.items():
        for name, count in sorted(summed.statuses.items()):
            requests.add_metric([*key, name], count)
        amount.add_metric([*key, "in"], summed.bytes_in)
        amount.add_metric([*key, "out"], summed.bytes_out)
        latency.add_metric(key, cumulative(summed.buckets), summed.seconds)
    yield from (requests, amount, latency)


def cumulative(buckets: Sequence[int]) -> list[tuple[str, float]]:
    """Prometheus' buckets: each with all below it."""
    names = [*[str(bound) for bound in BOUNDS], "+Inf"]
    return [(name, float(sum(buckets[: place + 1]))) for place, name in enumerate(names)]


def _of_listeners(listeners: Iterable[tuple[str, object]]) -> Iterator[Metric]:
    active: dict[Labels, int] = defaultdict(int)
    reasons: dict[Labels, int] = defaultdict(int)
    for name, each in listeners:
        document = _mapping(each)
        active[(name,)] += _number(_mapping(document.get("connections")).get("active"))
        for reason, count in _mapping(document.get("reasons")).items():
            reasons[name, reason] += _number(count)
    yield _filled(GaugeMetricFamily("lbctl_http_listener_connections", "Open connections.", labels=LISTENER), active)
    words = "Requests that no backend answered well, by reason."
    yield _filled(CounterMetricFamily("lbctl_http_failures", words, labels=("listener", "reason")), reasons)


def _of_backends(backends: Iterable[tuple[Labels, object]]) -> Iterator[Metric]:
    for name, words in (
        ("failures", "Attempts that failed."),
        ("retries", "Requests that went on to another backend."),
    ):
        counts: dict[Labels, int] = defaultdict(int)
        for key, document in backends:
            counts[key] += _number(_mapping(document).get(name))
        yield _filled(CounterMetricFamily(f"lbctl_http_backend_{name}", words, labels=BACKEND), counts)


def _of_services(services: Iterable[tuple[str, object]]) -> Iterator[Metric]:
    for name, words in (
        ("in_flight", "Requests at backends now."),
        ("waiting", "Requests that wait for a connection."),
    ):
        counts: dict[Labels, int] = defaultdict(int)
        for service, document in services:
            counts[(service,)] += _number(_mapping(document).get(name))
        yield _filled(GaugeMetricFamily(f"lbctl_http_service_{name}", words, labels=("service",)), counts)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, counts: Mapping[Labels, int]) -> Metric:
    for labels, count in counts.items():
        family.add_metric(labels, count)
    return family


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
