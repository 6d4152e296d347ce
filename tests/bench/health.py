"""What it costs to check 1,000 backends every 2 seconds: CPU of the health worker, by type of check.

    python -m tests.bench.health

The backends are addresses of the loopback network with one server behind all of them, in a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path

from lb4.address import Endpoint
from lb4.health.target import Target
from lb4.model import HealthCheck
from lb4.worker.channel import ParentEnd
from lb4.worker.messages import Configure

BACKENDS = 1000
EVERY = 2.0
SECONDS = 10
ADDRESSES = [IPv4Address("127.1.0.1") + n for n in range(BACKENDS)]
TICKS = os.sysconf("SC_CLK_TCK")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Answering(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(ANSWER)
        self.transport.close()


class Echoing(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, client: tuple[str, int]) -> None:
        self.transport.sendto(data, client)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(Answering, "0.0.0.0", port, backlog=2048)
    for address in ADDRESSES:
        await loop.create_datagram_endpoint(Echoing, (str(address), port))
    print("ready", flush=True)
    await asyncio.Event().wait()


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measured(check: HealthCheck, port: int) -> tuple[float, int]:
    """The share of a core that the worker takes, and how many backends are up."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "cli.run.health_worker", str(theirs.fileno()), "nobody", "0"]
    worker = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    theirs.close()
    try:
        return asyncio.run(_watched(ours, worker.pid, check, port))
    finally:
        worker.kill()
        worker.wait()


async def _watched(sock: socket.socket, pid: int, check: HealthCheck, port: int) -> tuple[float, int]:
    channel = ParentEnd(sock)
    targets = tuple(Target(f"s{n // 10}", Endpoint(ip, port), check) for n, ip in enumerate(ADDRESSES))
    channel.send(Configure(targets))
    up: set[str] = set()

    async def listen() -> None:
        async for report in channel.reports():
            for _, address, health, _ in report.get("health", ()):  # type: ignore[attr-defined]
                (up.add if health == "up" else up.discard)(address)

    listening = asyncio.create_task(listen())
    await asyncio.sleep(2 * EVERY)
    before, begun = cpu(pid), time.monotonic()
    await asyncio.sleep(SECONDS)
    used = (cpu(pid) - before) / (time.monotonic() - begun)
    listening.cancel()
    return used, len(up)


def main() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.health", "serve", str(port)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        assert server.stdout.readline() == "ready\n"
        print(f"{BACKENDS} backends, one check every {EVERY:g} s each")
        for kind, more in (("tcp", {}), ("http", {}), ("udp", {"payload": b"x", "expect": b"x"}), ("icmp", {})):
            used, up = measured(HealthCheck(kind, every=EVERY, **more), port)  # type: ignore[arg-type]
            each = used * EVERY / BACKENDS * 1e6
            print(f"{kind:5} {used:6.1%} of a core, {each:4.0f} µs a check, {up} up", flush=True)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[2]))) if sys.argv[1:2] == ["serve"] else main()
