"""`terminate` beside nginx stream and HAProxy in mode tcp: CPU of a request, bytes a second, idle connections.

`python -m tests.bench.terminate [SECONDS]` prints Markdown tables. CPU is that of all the balancer's processes, user
and system, for kept-alive requests from wrk through two backends; everybody takes a turn in every round and has the
median told. Needs root; works in network namespaces of its own.
"""

from __future__ import annotations

import os
import resource
import socket
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from cli.lab.plan import CLIENT, LISTEN4
from tests.bench.contenders import HAPROXY_TCP, NGINX_STREAM, TERMINATE, WEB, Contender, Network, fresh_network
from tests.bench.load import gigabits, requests

ROUNDS = 3
CONTENDERS = (NGINX_STREAM, HAPROXY_TCP, TERMINATE)
CPU, BYTES, NEW, MEMORY = "CPU of a request, µs", "TCP, Gbit/s", "CPU of a connection, µs", "KiB of an idle connection"
FORMS = {CPU: "{:.1f}", BYTES: "{:.2f}", NEW: "{:.0f}", MEMORY: "{:.1f}"}
TICKS = os.sysconf("SC_CLK_TCK")
IDLE = 10_000


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in tree(int(child)))]


def cpu(pid: int) -> float:
    """Seconds of CPU of the process and all below it so far."""
    return sum(_cpu_of(each) for each in tree(pid))


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> int:
    """Bytes in memory that are not shared with others, of the process and all below it."""
    rollups = (Path(f"/proc/{each}/smaps_rollup").read_text() for each in tree(pid))
    return sum(int(line.split()[1]) * 1024 for text in rollups for line in text.splitlines() if line.startswith("Pss:"))


def measured(net: Network, who: Contender, seconds: float) -> Mapping[str, float]:
    """All figures of one turn."""
    with who.up(net) as pid:
        assert pid is not None
        requests(net, who, 1)
        before = cpu(pid)
        kept = requests(net, who, seconds)
        between = cpu(pid)
        new = requests(net, who, seconds, close=True)
        after = cpu(pid)
        if kept.failed or new.failed:
            raise SystemExit(f"{who.name}: {kept.failed} requests and {new.failed} connections failed")
        costs = {CPU: (between - before) / kept.count * 1e6, NEW: (after - between) / new.count * 1e6}
        return {**costs, BYTES: gigabits(net, who, seconds)}


def idle(net: Network, who: Contender) -> float:
    """KiB of each of many connections that had a request and are kept."""
    sockets: list[socket.socket] = []
    with who.up(net) as pid:
        assert pid is not None
        requests(net, who, 1)
        before = resident(pid)
        try:
            for _ in range(IDLE):
                with net.inside(CLIENT):
                    sock = socket.create_connection((str(LISTEN4), WEB))
                sockets.append(sock)
                sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                sock.recv(4096)
            return (resident(pid) - before) / IDLE / 1024
        finally:
            for sock in sockets:
                sock.close()


def table(figures: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """One line for each figure."""
    names = [who.name for who in CONTENDERS]
    yield "| figure | " + " | ".join(names) + " | of nginx | aim | |\n|---|" + "---:|" * (len(names) + 1) + "---|---|"
    aims = {CPU: (1.2, False), BYTES: (0.8, True)}
    for figure, values in figures.items():
        ratio = values[TERMINATE.name] / values[NGINX_STREAM.name]
        cells = [FORMS[figure].format(values[name]) for name in names]
        aim, least = aims.get(figure, (None, False))
        said = "" if aim is None else f"{'≥' if least else '≤'} {aim:g}"
        met = "" if aim is None else "met" if (ratio >= aim if least else ratio <= aim) else "MISSED"
        yield f"| {figure} | " + " | ".join(cells) + f" | {ratio:.2f} | {said} | {met} |"


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    found: dict[str, dict[str, list[float]]] = {figure: defaultdict(list) for figure in (CPU, BYTES, NEW, MEMORY)}
    for who in CONTENDERS:
        with fresh_network() as net:
            found[MEMORY][who.name].append(idle(net, who))
    for number in range(ROUNDS):
        for who in CONTENDERS if number % 2 == 0 else CONTENDERS[::-1]:
            with fresh_network() as net:
                for figure, value in measured(net, who, seconds).items():
                    found[figure][who.name].append(value)
    middle = {figure: {name: statistics.median(v) for name, v in by.items()} for figure, by in found.items()}
    print(*table(middle), sep="\n")


if __name__ == "__main__":
    main()
