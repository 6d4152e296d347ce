"""Prometheus' metric families, made by the names of the catalogue.

The rule: type, words and labels are the catalogue's; who makes a family gives values alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from cli.metrics.catalogue import BY_NAME

Sample = tuple[Sequence[str], float]
"""The values of the labels, and the value."""


def family(name: str, samples: Iterable[Sample]) -> Metric:
    """A gauge or a counter of the catalogue, without the `lbctl_`; samples of one label set are summed."""
    described = BY_NAME[f"lbctl_{name}"]
    made = GaugeMetricFamily if described.kind == "gauge" else CounterMetricFamily
    found = made(described.name.removesuffix("_total"), described.words, labels=described.labels)
    sums: dict[tuple[str, ...], float] = {}
    for labels, value in samples:
        key = tuple(labels)
        sums[key] = sums.get(key, 0.0) + value
    for key, value in sums.items():
        found.add_metric(key, value)
    return found


Buckets = tuple[Sequence[str], Sequence[float], Sequence[int], float]
"""Labels, upper bounds in seconds, counts per bucket with the one beyond the last bound, seconds in all."""


def histogram(name: str, samples: Iterable[Buckets]) -> Metric:
    """A histogram of the catalogue; samples of one label set are summed."""
    described = BY_NAME[f"lbctl_{name}"]
    found = HistogramMetricFamily(described.name, described.words, labels=described.labels)
    sums: dict[tuple[str, ...], tuple[Sequence[float], list[int], float]] = {}
    for labels, bounds, counts, seconds in samples:
        key = tuple(labels)
        _, have, so_far = sums.get(key, (bounds, [0] * len(counts), 0.0))
        sums[key] = bounds, [a + b for a, b in zip(have, counts, strict=True)], so_far + seconds
    for key, (bounds, counts, seconds) in sums.items():
        names = [*map(str, bounds), "+Inf"]
        found.add_metric(key, list(zip(names, map(float, accumulate(counts)), strict=True)), seconds)
    return found
