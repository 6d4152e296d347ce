"""Programming the kernel: ten thousand listeners from nothing, unchanged, one change, beside `nft -f` in the same run.

`python -m tests.bench.programming [LISTENERS]` prints a Markdown table. Needs root; works in a network namespace of
its own that ends with the process.
"""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

from lb4.address import Bind, Endpoint
from lb4.compile.table import compile_table
from lb4.kernel.real import RealKernel
from lb4.model import Backend, Balancer, Listener, Service
from lb4.nft.diff import diff
from lb4.nft.lower import lower_table
from lb4.nft.program import LoweredTable
from lb4.nft.text import write_table

CLONE_NEWNET = 0x40000000
BACKENDS = 3
RUNS = 3

Result = TypeVar("Result")


def balancer(count: int, weight: int = 1) -> Balancer:
    """So many listeners, each with a service of three backends; weight: of the last service's first backend."""
    listeners = {
        f"l{n}": Listener(f"l{n}", (Bind(IPv4Address("10.1.0.0") + n, 80, 80),), service=f"s{n}") for n in range(count)
    }
    services = {f"s{n}": Service(f"s{n}", tuple(_backends(n))) for n in range(count)}
    last = services[f"s{count - 1}"]
    changed = (replace(last.backends[0], weight=weight), *last.backends[1:])
    services[last.name] = replace(last, backends=changed)
    return Balancer(listeners, services)


def _backends(listener: int) -> Iterator[Backend]:
    for n in range(BACKENDS):
        yield Backend(Endpoint(IPv4Address(f"10.{100 + n}.0.0") + listener, 8080))


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds that it took, and what it gave."""
    gc.collect()
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def nft(*arguments: str) -> None:
    """Runs nft, the peer."""
    subprocess.run(["nft", *arguments], check=True, stdout=subprocess.DEVNULL)


def programmed(kernel: RealKernel, wanted: LoweredTable) -> None:
    """Makes the kernel have it, from whatever it has."""
    snapshot = kernel.read()
    kernel.commit(diff(snapshot.table, wanted), snapshot.generation)


def emptied(kernel: RealKernel) -> None:
    """Takes the table away."""
    snapshot = kernel.read()
    kernel.commit(diff(snapshot.table, None), snapshot.generation)


def one_change(kernel: RealKernel, count: int) -> tuple[float, float]:
    """Seconds of the transaction alone for a backend's weight, and of the transaction that adds a listener."""
    before = kernel.read()
    changes = diff(before.table, lower_table(compile_table(balancer(count, weight=3))))
    weight, _ = timed(lambda: kernel.commit(changes, before.generation))
    before = kernel.read()
    more = diff(before.table, lower_table(compile_table(balancer(count + 1))))
    added, _ = timed(lambda: kernel.commit(more, before.generation))
    return weight, added


def read_anew() -> None:
    """By a kernel that remembers nothing."""
    with RealKernel() as another:
        another.read()


def measure(count: int) -> Iterator[tuple[str, float, float | None]]:
    """Figures: what, seconds, and their ratio to `nft -f`."""
    kernel = RealKernel()
    compiling, table = timed(lambda: compile_table(balancer(count)))
    lowering, wanted = timed(lambda: lower_table(table))
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "ruleset.nft"
        script.write_text(write_table(table))
        ours, peers = [], []
        for _ in range(RUNS):
            ours.append(timed(lambda: programmed(kernel, wanted))[0])
            emptied(kernel)
            peers.append(timed(lambda: nft("-f", str(script)))[0])
            emptied(kernel)
    peer, own = statistics.median(peers), statistics.median(ours)
    yield f"`nft -f` of {count:,} listeners with {BACKENDS} backends each, from nothing", peer, 1.0
    yield "the same by netlink: read, diff, encode, commit", own, own / peer
    yield "lowered and programmed", own + lowering, (own + lowering) / peer
    yield "compiled, lowered and programmed", own + lowering + compiling, (own + lowering + compiling) / peer
    programmed(kernel, wanted)
    reading = statistics.median(timed(read_anew)[0] for _ in range(RUNS))
    current = kernel.read().table
    comparing = statistics.median(timed(lambda: diff(current, wanted))[0] for _ in range(RUNS))
    if diff(current, wanted):
        raise SystemExit(f"the table that was programmed reads as another: {diff(current, wanted).summary[:3]}")
    yield "reading the unchanged table", reading, None
    yield "its diff, which is empty", comparing, None
    weight, added = one_change(kernel, count)
    yield "one backend's weight changed, transaction alone", weight, None
    yield "one listener added, transaction alone", added, None
    removing, _ = timed(lambda: emptied(kernel))
    yield "all of it removed (read and transaction)", removing, None
    kernel.close()


def main() -> None:
    """Measures and prints the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise SystemExit(f"a network namespace of its own: {os.strerror(ctypes.get_errno())}; it takes root")
    gc.disable()  # as lbctl does for the length of one operation
    print("| what | seconds | of `nft -f` |\n|---|---|---|")
    for what, seconds, ratio in measure(count):
        print(f"| {what} | {seconds:.4f} | {'' if ratio is None else f'{ratio:.2f}'} |", flush=True)


if __name__ == "__main__":
    main()
