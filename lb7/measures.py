"""What is counted: requests by status class, bytes, and how long they took, as plain integers.

The rule: counting a request is a handful of additions; sums, ratios and names are made when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency buckets in seconds; the last bucket, beyond them, has none."""
CLASSES = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")


class Measures:
    """The counts of the requests of one route that had the same service and backend, or the sum of several such."""

    __slots__ = ("buckets", "bytes_in", "bytes_out", "classes", "requests", "seconds")

    def __init__(self) -> None:
        self.requests = 0
        self.classes = [0] * len(CLASSES)
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.bytes_in = 0
        self.bytes_out = 0

    def count(self, status: int, bucket: int, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """One request that is over; bucket as `bucket_of` gives it."""
        self.requests += 1
        self.classes[status // 100 if status < 600 else 0] += 1
        self.buckets[bucket] += 1
        self.seconds += seconds
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out

    def document(self) -> Mapping[str, object]:
        """For JSON: buckets are counts per bucket (not summed up) in the order of BOUNDS, then the one beyond."""
        return {
            "requests": self.requests,
            "statuses": {name: count for name, count in zip(CLASSES, self.classes, strict=True) if count},
            "latency": {"bounds": list(BOUNDS), "buckets": list(self.buckets), "sum": self.seconds},
            "bytes": {"in": self.bytes_in, "out": self.bytes_out},
        }

    def add(self, other: Measures) -> None:
        """Adds the counts of another."""
        self.requests += other.requests
        self.seconds += other.seconds
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.classes = [a + b for a, b in zip(self.classes, other.classes, strict=True)]
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]


Cells = dict[tuple[str, str], Measures]
"""The measures of one route by service and backend, both empty for requests that no backend got."""


def total(cells: Iterable[Measures]) -> Measures:
    """The sum."""
    summed = Measures()
    for each in cells:
        summed.add(each)
    return summed


def bucket_of(seconds: float) -> int:
    """The index of the latency bucket."""
    return bisect_left(BOUNDS, seconds)
