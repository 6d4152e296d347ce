"""The hook at work in a namespace: lbctl's own rules in its kernel, a worker process with a queue.

The rule: rules come from the compiler and through lbctl's own netlink; the worker is a process that tests may kill.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lb4.compile.table import Assistance, compile_table
from lb4.kernel.real import RealKernel
from lb4.model import Balancer
from lb4.nft.diff import diff
from lb4.nft.lower import lower_table
from lb4.packet.rules import PacketQueues
from tests.packet.network import Network


def load(net: Network, balancer: Balancer, workers: int = 1, assistance: Assistance | None = None) -> None:
    """Makes the balancer's kernel hold the rules."""
    with net.inside("lb"):
        kernel = RealKernel()
        snapshot = kernel.read()
        xtables = "queue" not in kernel.features()
        assist = replace(assistance, xtables=xtables) if assistance is not None else None
        table = lower_table(compile_table(balancer, assist, PacketQueues(workers, xtables)))
        kernel.commit(diff(snapshot.table, table), snapshot.generation)
        kernel.close()


class Worker:
    """`python -m tests.packet.worker` in the balancer's namespace; told and asked by lines."""

    def __init__(self, net: Network, part: bytes, *arguments: str) -> None:
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", net.name("lb"), sys.executable, "-m", "tests.packet.worker", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(len(part).to_bytes(4, "big") + part)
        self._process.stdin.flush()
        assert self.line() == "ready"

    def line(self) -> str:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], 10)
        assert ready, "the worker says nothing"
        return self._process.stdout.readline().decode().strip()

    def statistics(self) -> dict[str, object]:
        assert self._process.stdin is not None
        self._process.stdin.write(b"?")
        self._process.stdin.flush()
        answer = json.loads(self.line())
        assert isinstance(answer, dict)
        return answer

    def kill(self) -> None:
        """As the kernel kills: nothing is tidied up."""
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
            self.wait()

    def wait(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait(10)


@contextmanager
def worker(net: Network, part: bytes, *arguments: str) -> Iterator[Worker]:
    running = Worker(net, part, *arguments)
    try:
        yield running
    finally:
        running.kill()
