"""`nat` beside routing without a balancer, nftlb, HAProxy and nginx stream; and what ten thousand listeners cost.

`python -m tests.bench.layer4 [SECONDS [SECONDS OF NEW CONNECTIONS]]` prints Markdown tables: 3 and 5 seconds unless
said; the aim for new connections is for 30. Everybody takes a turn in every round and has its median told, so that a
noisy minute hits all of them; ratios are of one run. Needs root; works in network namespaces of its own.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address

from cli.lab.plan import BALANCER
from tests.bench.contenders import (
    BACKENDS,
    HAPROXY_TCP,
    LBCTL,
    NAT,
    NFTLB,
    NGINX_STREAM,
    ROUTED,
    Contender,
    Network,
    fresh_network,
)
from tests.bench.load import first_byte, gigabits, requests

ROUNDS = 3
CONTENDERS = (ROUTED, NAT, NFTLB, HAPROXY_TCP, NGINX_STREAM)
BYTES, KEPT, NEW, FAILED = "TCP, Gbit/s", "kept-alive requests/s", "new connections/s", "of them failed"
FIGURES = (BYTES, KEPT, NEW, FAILED)
LISTENERS = (1, 1_000, 10_000)
APPLY_AIM = 3.0

Figures = Mapping[str, Mapping[str, float]]
"""By figure, by contender."""


def compared(seconds: float, new_seconds: float) -> Figures:
    """The medians of several rounds; failures are summed."""
    found: dict[str, dict[str, list[float]]] = {figure: defaultdict(list) for figure in FIGURES}
    for number in range(ROUNDS):
        # The order turns round: who comes first in one round comes last in the next.
        for who in CONTENDERS if number % 2 == 0 else CONTENDERS[::-1]:
            with fresh_network() as net:
                for figure, value in measured(net, who, seconds, new_seconds).items():
                    found[figure][who.name].append(value)
    middle = {figure: {name: statistics.median(v) for name, v in by.items()} for figure, by in found.items()}
    middle[FAILED] = {name: sum(values) for name, values in found[FAILED].items()}
    return middle


def measured(net: Network, who: Contender, seconds: float, new_seconds: float) -> Mapping[str, float]:
    """All figures of one turn."""
    with who.up(net):
        requests(net, who, 0.5)
        new = requests(net, who, new_seconds, close=True)
        kept = requests(net, who, seconds)
        return {BYTES: gigabits(net, who, seconds), KEPT: kept.rate, NEW: new.rate, FAILED: new.failed + kept.failed}


def table(figures: Figures) -> Iterator[str]:
    """One line for each figure."""
    names = [who.name for who in CONTENDERS]
    yield "| figure | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names)
    for figure, values in figures.items():
        form = "{:.1f}" if figure == BYTES else "{:,.0f}"
        yield f"| {figure} | " + " | ".join(form.format(values[name]) for name in names) + " |"


def judged(figures: Figures) -> Iterator[tuple[str, str, float, bool]]:
    """Each aim: what, the aim, what came out, whether it holds."""
    ours = {figure: values[NAT.name] for figure, values in figures.items()}
    for figure in (BYTES, KEPT):
        ratio = ours[figure] / figures[figure][ROUTED.name]
        yield figure, "≥ 0.95 of routed", ratio, ratio >= 0.95
    for peer, least in ((NFTLB, 1.0), (HAPROXY_TCP, 1.2)):
        ratio = ours[NEW] / figures[NEW][peer.name]
        yield NEW, f"≥ {least:g} of {peer.name}", ratio, ratio >= least
    yield "failures of nat", "0", ours[FAILED], ours[FAILED] == 0


def many(count: int) -> str:
    """A configuration of so many listeners, each with a service of the same two backends and a third."""
    lines = ["version: 1", "listeners:"]
    lines += [f"  l{n}: {{bind: {bind(n)}:80, service: s{n}}}" for n in range(count)]
    lines.append("services:")
    backends = ", ".join(f'"{ip}:8080"' for ip in BACKENDS)
    lines += [f'  s{n}: {{backends: [{backends}, {{address: "10.0.3.2:8080", weight: 0}}]}}' for n in range(count)]
    return "\n".join(lines)


def bind(number: int) -> IPv4Address:
    """The address of a listener among many, which need not be the host's."""
    return IPv4Address("10.77.0.0") + number


def listeners_of(net: Network) -> tuple[dict[int, float], float, float]:
    """By number of listeners ms to the first byte; seconds of `lbctl apply` of an unchanged file, and of its CPU."""
    found: dict[int, list[float]] = defaultdict(list)
    unchanged, processor = [], []
    for count in LISTENERS:
        (net.directory / f"{count}.yaml").write_text(many(count))
    for _ in range(ROUNDS):
        for count in LISTENERS:
            file = str(net.directory / f"{count}.yaml")
            net.run(BALANCER, LBCTL, "apply", file)
            first_byte(net, (str(bind(count // 2)), 80), 50)
            found[count].append(first_byte(net, (str(bind(count // 2)), 80), 400))
        start, used = time.perf_counter(), cpu_of_children()
        net.run(BALANCER, LBCTL, "apply", file)
        unchanged.append(time.perf_counter() - start)
        processor.append(cpu_of_children() - used)
    net.run(BALANCER, LBCTL, "flush")
    times = {count: statistics.median(values) for count, values in found.items()}
    return times, statistics.median(unchanged), statistics.median(processor)


def cpu_of_children() -> float:
    """Seconds of CPU of all processes that ended so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def verdicts(rows: Iterator[tuple[str, str, float, bool]]) -> Iterator[str]:
    for what, aim, value, met in rows:
        yield f"| {what} | {aim} | {value:.3g} | {'met' if met else 'MISSED'} |"


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    new_seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0
    subprocess.run(["nginx", "-v"], check=True, stderr=subprocess.DEVNULL)
    figures = compared(seconds, new_seconds)
    print(*table(figures), "\n| figure | aim | measured | |\n|---|---|---:|---|", sep="\n", flush=True)
    print(*verdicts(judged(figures)), sep="\n", flush=True)
    with fresh_network() as net:
        times, unchanged, processor = listeners_of(net)
        for count, value in times.items():
            print(f"| time to first byte, {count:,} listeners | | {value:.3f} ms | |")
        ratio = times[LISTENERS[-1]] / times[1]
        rows = [
            ("time to first byte, 10,000 listeners", "≤ 1.2 of 1 listener", ratio, ratio <= 1.2),
            ("`lbctl apply`, unchanged, 10,000 listeners, s", f"≤ {APPLY_AIM:g}", unchanged, unchanged <= APPLY_AIM),
        ]
        print(*verdicts(iter(rows)), sep="\n")
        print(f"| its CPU, s | | {processor:.2f} | |")


if __name__ == "__main__":
    main()
