"""All metrics: name, type, labels, what it says. The reference page and the exposition are both made from this.

The rule: names follow Prometheus' conventions: base units in the name, `_total` for what only grows; a metric that is
not here does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]
BACKEND = ("service", "backend")
ROUTE = ("listener", "route")


@dataclass(frozen=True, slots=True)
class Described:
    """One metric."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    words: str


def _metric(name: str, kind: Kind, labels: tuple[str, ...], words: str) -> Described:
    return Described(f"lbctl_{name}", kind, labels, words)


METRICS = (
    _metric("info", "gauge", ("version",), "Always 1; the version that runs."),
    _metric("config_loaded_timestamp_seconds", "gauge", (), "When the configuration in force was applied (Unix time)."),
    _metric("config_reload_failures_total", "counter", (),
            "Files that SIGHUP or `apply` asked for and that were not taken."),
    _metric("listener_info", "gauge", ("listener", "mode", "protocol", "service"), "Always 1 for each listener."),
    _metric("listener_flows", "gauge", ("listener", "protocol"), "Flows that are tracked now."),
    _metric("listener_refused_total", "counter", ("listener", "reason"), "New flows that were not let in, by reason."),
    _metric("service_backends", "gauge", ("service",), "Backends of the service."),
    _metric("service_backends_usable", "gauge", ("service",), "Backends that new flows may go to."),
    _metric("backend_up", "gauge", BACKEND,
            "Whether checks let new flows go there (1; also where nothing is checked) or not (0)."),
    _metric("backend_enabled", "gauge", BACKEND,
            "Whether the operator lets new flows go there (1) or drains or disabled it (0)."),
    _metric("backend_weight", "gauge", BACKEND, "The weight: the file's, or the operator's."),
    _metric("backend_connections_active", "gauge", BACKEND,
            "Open connections or UDP flows; in mode `http`, requests in flight."),
    _metric("backend_connections_total", "counter", BACKEND, "Connections or UDP flows; in mode `http`, requests."),
    _metric("backend_packets_total", "counter", BACKEND, "Packets, both directions (0 in mode `http`)."),
    _metric("backend_bytes_total", "counter", BACKEND, "Bytes, both directions."),
    _metric("backend_health_changes_total", "counter", BACKEND, "How often checks found another health."),
    _metric("health_change_seconds", "histogram", (), "From a check's finding to kernel and workers knowing it."),
    _metric("kernel_transactions_seconds", "histogram", (), "How long nf_tables transactions took."),
    _metric("kernel_transactions_refused_total", "counter", (),
            "Transactions that the kernel refused, or that met another writer's."),
    _metric("kernel_foreign_changes_total", "counter", (), "Transactions of others that touched lbctl's table."),
    _metric("kernel_drift", "gauge", (), "Whether the kernel's table is known to be another than what was applied."),
    _metric("kernel_drift_mended_total", "counter", (), "How often drift was mended (`reconcile: true`)."),
    _metric("kernel_invalid_dropped_total", "counter", (),
            "Packets of lbctl's flows that conntrack called invalid, dropped."),
    _metric("conntrack_flows", "gauge", (), "Flows of any kind that the kernel tracks."),
    _metric("conntrack_flows_max", "gauge", (), "Flows that it can track; beyond, new ones are dropped."),
    _metric("conntrack_events_total", "counter", ("event",),
            "What conntrack dropped or failed to insert, by the kernel's own name for it."),
    _metric("snat_ports_used", "gauge", ("protocol", "source", "backend"),
            "Source ports in use from an address of the balancer to a backend."),
    _metric("snat_ports_left", "gauge", ("protocol", "source", "backend"),
            "Source ports left from an address of the balancer to a backend."),
    _metric("snat_exhaustion_seconds", "gauge", ("protocol", "source", "backend"),
            "Seconds until no source port is left, at the rate of the last minutes; +Inf where their number does "
            "not grow."),
    _metric("queue_waiting", "gauge", ("queue",), "Packets that wait in a packet queue."),
    _metric("queue_dropped_total", "counter", ("queue",), "Packets that a packet queue dropped because it was full."),
    _metric("queue_failed_total", "counter", ("queue",), "Packets that the hook could not deal with, and dropped."),
    _metric("queue_flows", "gauge", ("queue",), "Flows in the table of a packet worker."),
    _metric("workers", "gauge", ("kind",), "Worker processes that are ready."),
    _metric("worker_deaths_total", "counter", ("kind",), "Worker processes that ended and were replaced."),
    _metric("operations_total", "counter", ("operation", "outcome"),
            "Operations asked of this process; outcome `done` or `refused`."),
    _metric("http_connections", "gauge", ("listener",), "Open connections of clients."),
    _metric("http_connections_total", "counter", ("listener",), "Connections of clients."),
    _metric("http_refused_total", "counter", ("listener", "reason"),
            "Requests that lbctl itself answered or cut off, by reason."),
    _metric("http_requests_total", "counter", (*ROUTE, "class"), "Requests by class of status (`2xx`)."),
    _metric("http_request_seconds", "histogram", ROUTE, "From a request's first byte to its response's last."),
    _metric("http_bytes_total", "counter", (*ROUTE, "direction"),
            "Bytes of bodies from clients (`in`) and to them (`out`)."),
    _metric("http_service_in_flight", "gauge", ("service",), "Requests that backends are at."),
    _metric("http_service_waiting", "gauge", ("service",), "Requests that wait for a connection (`max_connections`)."),
    _metric("http_backend_requests_total", "counter", (*BACKEND, "class"),
            "Requests by class of the backend's status."),
    _metric("http_backend_seconds", "histogram", BACKEND, "How long requests that went to a backend took."),
    _metric("http_backend_failures_total", "counter", BACKEND,
            "Requests that failed at a backend: no connection, no or a broken response."),
    _metric("http_backend_retries_total", "counter", BACKEND, "Requests that were tried again elsewhere."),
    _metric("http_backend_ejections_total", "counter", BACKEND,
            "How often a backend was ejected because of what its traffic showed."),
    _metric("http_backend_ejected", "gauge", BACKEND, "Workers in which a backend is ejected now."),
    _metric("http_backend_connections", "gauge", (*BACKEND, "state"), "Connections to a backend, `active` or `idle`."),
    _metric("http_backend_connections_total", "counter", BACKEND, "Connections opened to a backend."),
    _metric("http_access_log_lost_total", "counter", (), "Lines of access logs that could not be written."),
)  # fmt: skip
BY_NAME = {each.name: each for each in METRICS}


def metrics_reference() -> str:
    """The reference page."""
    rows = [f"| `{m.name}` | {m.kind} | {', '.join(f'`{each}`' for each in m.labels)} | {m.words} |" for m in METRICS]
    head = [
        "# Metrics",
        "",
        "Served at `/metrics` on the address of `metrics: {bind: …}`, and on the control socket. "
        "Made by `make reference` from the code.",
        "",
        "| metric | type | labels | what it says |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"
