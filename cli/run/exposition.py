"""The text that a scrape of /metrics gets: what is in force, what the kernel, the workers and this process count.

The rule: it runs between two operations, in their thread, and changes nothing. What cannot be read is left out.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from cli.metrics.balancing import balancing
from cli.metrics.families import family, histogram
from cli.metrics.forecast import Forecast
from cli.metrics.http import http
from cli.metrics.kernel import conntrack, flows, invalid
from cli.operations import perform_here
from cli.operations.context import Context
from cli.operations.error import OperationError
from cli.operations.flows import live_flows
from cli.operations.refusal import told
from cli.operations.wanted import in_force
from cli.run.fleet import Fleet
from cli.run.reconciler import Reconciler
from cli.run.runtime import LiveRuntime
from cli.run.timed_kernel import BOUNDS, TimedKernel, Transactions
from lb4.conntrack.attribution import Attribution
from lb4.doctor.findings import SNAT_PORTS

Made = Callable[[], Iterator[Metric]]


@dataclass
class Tally:
    """What the supervisor counts of itself."""

    loaded: float = 0.0
    reload_failures: int = 0
    operations: Counter[tuple[str, str]] = field(default_factory=Counter)
    health_changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    told: Transactions = field(default_factory=Transactions)


class Exposition(Collector):
    """All metrics of one `lbctl run`."""

    def __init__(
        self,
        context: Context,
        runtime: LiveRuntime,
        kernel: TimedKernel,
        fleet: Fleet,
        reconciler: Reconciler,
        tally: Tally,
    ) -> None:
        """Reads all of these, and changes none."""
        self._context = context
        self._runtime = runtime
        self._kernel = kernel
        self._fleet = fleet
        self._reconciler = reconciler
        self._tally = tally
        self._forecast = Forecast(SNAT_PORTS)

    def text(self) -> str:
        """In Prometheus' text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry).decode()

    def describe(self) -> list[Metric]:
        """Nothing beforehand: what there is shows when it is collected."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        for made in (self._own, self._balancing, self._in_kernel, self._http, self._workers):
            yield from _readable(made)

    def _own(self) -> Iterator[Metric]:
        tally, done, reconciler = self._tally, self._kernel.transactions, self._reconciler
        yield family("info", [((version("lbctl"),), 1.0)])
        yield family("config_loaded_timestamp_seconds", [((), tally.loaded)])
        yield family("config_reload_failures_total", [((), tally.reload_failures)])
        yield family("operations_total", [(key, float(count)) for key, count in tally.operations.copy().items()])
        changes = tally.health_changes.copy().items()
        yield family("backend_health_changes_total", [(key, float(count)) for key, count in changes])
        yield histogram("health_change_seconds", [((), BOUNDS, tally.told.buckets, tally.told.seconds)])
        yield histogram("kernel_transactions_seconds", [((), BOUNDS, done.buckets, done.seconds)])
        yield family("kernel_transactions_refused_total", [((), done.refused)])
        yield family("kernel_foreign_changes_total", [((), reconciler.seen)])
        yield family("kernel_drift", [((), float(reconciler.drifted))])
        yield family("kernel_drift_mended_total", [((), reconciler.mended)])

    def _balancing(self) -> Iterator[Metric]:
        yield from balancing(perform_here(self._context, "status", {}))

    def _in_kernel(self) -> Iterator[Metric]:
        yield from conntrack()
        found = in_force(self._context)
        if found is None or not found.balancer.kernel_listeners():
            return
        kernel = {listener.name for listener in found.balancer.kernel_listeners()}
        live = live_flows(self._context, Attribution(found.balancer))
        yield from flows(live, kernel, self._forecast, time.monotonic())
        yield invalid(self._kernel.rule_counts())

    def _http(self) -> Iterator[Metric]:
        yield from http(self._runtime.parts("http"))

    def _workers(self) -> Iterator[Metric]:
        kinds = dict(self._fleet.workers)
        yield family("workers", [((k,), float(sum(w.ready.is_set() for w in each))) for k, each in kinds.items()])
        yield family("worker_deaths_total", [((k,), float(sum(w.ended for w in each))) for k, each in kinds.items()])


def _readable(made: Made) -> Iterator[Metric]:
    try:
        with told():
            yield from list(made())
    except OperationError:
        return
