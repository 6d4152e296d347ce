"""The metrics of mode `http`, made from what its workers report of themselves (lb7/report.py), summed over them.

The rule: a worker's word is not trusted: a document that has not the form is left out whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import Metric

from cli.metrics.families import Buckets, Sample, family, histogram

Document = Mapping[str, Any]
Rows = list[tuple[tuple[str, ...], Document]]
"""Labels and the part of a worker's document that they stand for."""

Samples = Callable[[Rows], Iterator[Sample]]


def http(documents: Iterable[object]) -> Iterator[Metric]:
    """All metrics of mode `http`; documents: of each worker, what it reports as `http`."""
    sound: list[Document] = [document for document in documents if isinstance(document, dict) and _is_sound(document)]
    if sound:
        yield from _made(sound)


def _is_sound(document: Document) -> bool:
    try:
        list(_made([document]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    return True


def _made(documents: list[Document]) -> Iterator[Metric]:
    listeners: Rows = [((str(n),), row) for d in documents for n, row in d["listeners"].items()]
    routes: Rows = [((n, str(r)), row) for (n,), each in listeners for r, row in each["routes"].items()]
    services: Rows = [((str(n),), row) for d in documents for n, row in d["services"].items()]
    backends: Rows = [((n, str(b)), row) for (n,), each in services for b, row in each["backends"].items()]
    for name, rows, samples in (
        ("http_connections", listeners, _at("connections", "active")),
        ("http_connections_total", listeners, _at("connections", "total")),
        ("http_refused_total", listeners, _each("reasons")),
        ("http_requests_total", routes, _each("statuses")),
        ("http_bytes_total", routes, _each("bytes")),
        ("http_service_in_flight", services, _at("in_flight")),
        ("http_service_waiting", services, _at("waiting")),
        ("http_backend_requests_total", backends, _each("statuses")),
        ("http_backend_failures_total", backends, _at("failures")),
        ("http_backend_retries_total", backends, _at("retries")),
        ("http_backend_ejections_total", backends, _at("ejections")),
        ("http_backend_ejected", backends, _at("ejected")),
        ("http_backend_connections_total", backends, _at("connections", "total")),
    ):
        yield family(name, samples(rows))
    states = [((*labels, s), float(row["connections"][s])) for labels, row in backends for s in ("active", "idle")]
    yield family("http_backend_connections", states)
    yield histogram("http_request_seconds", _latencies(routes))
    yield histogram("http_backend_seconds", _latencies(backends))
    yield family("http_access_log_lost_total", [((), float(d["access_log"]["lost"])) for d in documents])


def _at(*path: str) -> Samples:
    def samples(rows: Rows) -> Iterator[Sample]:
        for labels, row in rows:
            value: Any = row
            for key in path:
                value = value[key]
            yield labels, float(value)

    return samples


def _each(key: str) -> Samples:
    def samples(rows: Rows) -> Iterator[Sample]:
        for labels, row in rows:
            yield from (((*labels, str(name)), float(value)) for name, value in row[key].items())

    return samples


def _latencies(rows: Rows) -> Iterator[Buckets]:
    for labels, row in rows:
        latency = row["latency"]
        counts = [int(count) for count in latency["buckets"]]
        yield labels, [float(bound) for bound in latency["bounds"]], counts, float(latency["sum"])
