"""How long a change of health takes to the kernel: from a server's answer to the transaction, among many backends.

    python -m tests.bench.health_change

A server of the bench answers its check with 200 and 503 by turns, and notes when; nf_tables' own event says when the
kernel had changed. All other backends are checked every 2 s meanwhile. Everything is in one namespace, which ends with
the process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from lb4.nft.events import TableEvents
from tests.contract.namespace import Namespace

SIZES = (3, 1000, 10_000)
PER_SERVICE = 10
CHANGES = 20
WATCHED = "10.1.0.1"
PORT = 8080
EVERY = 1.5
PATIENCE = 60.0
HEADS = (b"HTTP/1.1 503 Service Unavailable\r\n", b"HTTP/1.1 200 OK\r\n")
LBCTL = Path(sys.executable).with_name("lbctl")


def configuration(backends: int) -> str:
    """The watched service, and as many others as hold so many backends in all."""
    services = max(1, (backends - 2) // PER_SERVICE)
    return "\n".join(["version: 1", "listeners:", *_listeners(services), "services:", *_services(services), ""])


def _listeners(services: int) -> Iterator[str]:
    yield "  watched: {bind: '192.0.2.1:80', service: watched}"
    for n in range(services):
        yield f"  l{n}: {{bind: '192.0.2.1:{1000 + n}', service: s{n}}}"


def _services(services: int) -> Iterator[str]:
    check = f"{{type: http, every: {EVERY}s, timeout: 1s, rise: 1, fall: 1}}"
    yield f"  watched: {{backends: ['{WATCHED}:{PORT}', '10.1.0.2:{PORT}'], health: {check}}}"
    for n in range(services):
        backends = ", ".join(f"'10.2.{n % 250}.{each + 1}:{PORT + n // 250}'" for each in range(PER_SERVICE))
        yield f"  s{n}: {{backends: [{backends}], health: {{type: tcp, every: 2s}}}}"


class Watched:
    """The server whose health changes with every answer, and when it gave the last one."""

    def __init__(self) -> None:
        self.answered = 0.0
        self._up = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One check."""
        await reader.readline()
        self._up = not self._up
        writer.write(HEADS[self._up] + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        self.answered = asyncio.get_running_loop().time()
        writer.close()


async def steady(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A check of one of the others."""
    writer.write(HEADS[1] + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


@asynccontextmanager
async def balancing(directory: Path, text: str) -> AsyncIterator[None]:
    """`lbctl run`, up to its SIGTERM."""
    file = directory / "lb.yaml"
    file.write_text(text)
    environment = os.environ | {"LBCTL_RUN_DIR": str(directory / "run"), "LBCTL_STATE_DIR": str(directory / "state")}
    with (directory / "log").open("wb") as log:
        run = await asyncio.create_subprocess_exec(LBCTL, "run", file, stderr=log, env=environment)
    try:
        async with asyncio.timeout(PATIENCE):
            while b" ready " not in (directory / "log").read_bytes():
                await asyncio.sleep(0.1)
        yield
    finally:
        run.send_signal(signal.SIGTERM)
        await run.wait()


async def measured(backends: int) -> list[float]:
    """Milliseconds of each change."""
    loop, watched = asyncio.get_running_loop(), Watched()
    ports = range(PORT, PORT + 1 + backends // PER_SERVICE // 250)
    servers = [await asyncio.start_server(watched.serve, WATCHED, PORT)]
    servers.append(await asyncio.start_server(steady, "10.1.0.2", PORT))
    for port in ports:
        servers += [await asyncio.start_server(steady, f"10.2.{n}.{m}", port) for n, m in addresses(backends)]
    events, found = TableEvents(), []

    def changed() -> None:
        if events.read(()) and watched.answered:
            found.append((loop.time() - watched.answered) * 1000)
            watched.answered = 0.0

    with tempfile.TemporaryDirectory(prefix="lbctl-bench-") as directory:
        async with balancing(Path(directory), configuration(backends)):
            await asyncio.sleep(5)
            events.read(())
            watched.answered = 0.0
            loop.add_reader(events.fileno(), changed)
            while len(found) < CHANGES:
                await asyncio.sleep(0.5)
            loop.remove_reader(events.fileno())
    for server in servers:
        server.close()
    events.close()
    return found


def addresses(backends: int) -> Iterator[tuple[int, int]]:
    """Where the others listen."""
    return ((n, m + 1) for n in range(min(250, backends // PER_SERVICE + 1)) for m in range(PER_SERVICE))


def main() -> None:
    """Measures and prints the table."""
    namespace = Namespace()
    with namespace.entered():
        for words in ("link set lo up", "addr add 10.0.0.1/8 dev lo", "addr add 192.0.2.1/32 dev lo"):
            subprocess.run(["ip", *words.split()], check=True)
        print(
            f"| backends | from the answer to the kernel, ms: median | worst of {CHANGES} | aim |\n|---:|---:|---:|---|"
        )
        for size in map(int, sys.argv[1:]) if sys.argv[1:] else SIZES:
            found = asyncio.run(measured(size))
            print(f"| {size:,} | {statistics.median(found):.0f} | {max(found):.0f} | ≤ 50 |", flush=True)
    namespace.close()


if __name__ == "__main__":
    main()
