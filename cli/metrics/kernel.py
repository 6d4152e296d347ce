"""The metrics of the kernel: conntrack's table and drops, source ports left, invalid packets.

The rule: what cannot be read is left out, and everything else is served.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client.core import Metric

from cli.metrics.families import family
from cli.metrics.forecast import Forecast
from lb4.address import Endpoint, IPAddress
from lb4.doctor.findings import SNAT_PORTS
from lb4.flow import Flow
from lb4.kernel.interface import Count
from lb4.model import Protocol

CONNTRACK = Path("/proc/sys/net/netfilter")
STATISTICS = Path("/proc/net/stat/nf_conntrack")
"""One line of hexadecimal counts for each CPU below a line of names (nf_conntrack_standalone.c)."""
TROUBLE = ("drop", "early_drop", "insert_failed", "invalid", "search_restart")

Ports = tuple[Protocol, IPAddress, Endpoint]


def conntrack() -> Iterator[Metric]:
    """How full the kernel's table of flows is, and what it could not keep."""
    for name, file in (("conntrack_flows", "count"), ("conntrack_flows_max", "max")):
        value = _number(CONNTRACK / f"nf_conntrack_{file}")
        if value is not None:
            yield family(name, [((), value)])
    yield family("conntrack_events_total", [((name,), float(count)) for name, count in _trouble().items()])


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None


def _trouble() -> Mapping[str, int]:
    try:
        names, *lines = (line.split() for line in STATISTICS.read_text().splitlines())
    except (OSError, ValueError):
        return {}
    sums: Counter[str] = Counter()
    for line in lines:
        sums.update({name: int(word, 16) for name, word in zip(names, line, strict=False) if name in TROUBLE})
    return sums


def flows(
    live: Iterable[tuple[str, str, Flow]], kernel: Container[str], forecast: Forecast, now: float
) -> Iterator[Metric]:
    """Flows by listener, and the source ports that those take up whose source the kernel translates.

    kernel: the names of the listeners that it forwards.
    """
    by_listener: Counter[tuple[str, str]] = Counter()
    used: Counter[Ports] = Counter()
    for listener, _, flow in live:
        by_listener[listener, flow.protocol.value] += 1
        if listener in kernel and flow.source.ip != flow.client.ip:
            used[flow.protocol, flow.source.ip, flow.backend] += 1
    yield family("listener_flows", [(key, float(count)) for key, count in by_listener.items()])
    left = forecast.observe(dict(used), now)
    labels = {key: (key[0].value, str(key[1]), str(key[2])) for key in used}
    yield family("snat_ports_used", [(labels[key], float(count)) for key, count in used.items()])
    yield family("snat_ports_left", [(labels[key], float(SNAT_PORTS - count)) for key, count in used.items()])
    yield family("snat_exhaustion_seconds", [(labels[key], left[key]) for key in used])


def invalid(counts: Mapping[str, tuple[Count, ...]]) -> Metric:
    """The packets that the chain `invalid` dropped."""
    return family("kernel_invalid_dropped_total", [((), float(sum(c.packets for c in counts.get("invalid", ()))))])
