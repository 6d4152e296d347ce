"""The stage of a scene: a lab of its own, an lbctl in its balancer, clients that ask from its client.

The rule: whatever happens, the lab and every process in it is gone when the block ends.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli.lab import build, interruption, namespaces, place, servers
from cli.lab.plan import BALANCER, CLIENT

PATIENCE = 300.0
"""Seconds that anything may take: an emulated machine compiles all of lbctl anew in each process."""


class Stage:
    """A lab that is up, and what is done in it."""

    def __init__(self, prefix: str) -> None:
        """The lab of this prefix; its servers are running."""
        self.prefix = prefix
        self.directory = place.directory(prefix)
        self.servers = servers.start(prefix)
        self._runs: list[subprocess.Popen[bytes]] = []

    def namespace(self, node: str) -> str:
        """The namespace of a node."""
        return f"{self.prefix}{node}"

    # ---- lbctl in the balancer

    def write(self, text: str) -> Path:
        """Writes the balancer's configuration file."""
        path = self.directory / "lb.yaml"
        path.write_text(text)
        return path

    def lbctl(self, *arguments: str) -> Any:
        """The document of an lbctl command in the balancer. Raises CalledProcessError."""
        done = subprocess.run(self._command("--json", *arguments), capture_output=True, check=True, timeout=PATIENCE)
        return json.loads(done.stdout or b"null")

    def run(self, path: Path) -> None:
        """Starts `lbctl run` in the balancer, and returns when it is ready: all workers serve. Raises OSError."""
        log = self.directory / "run.log"
        with log.open("ab") as output:
            said = output.tell()
            command = self._command("run", str(path))
            run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._runs.append(run)
        self.until(lambda: b" ready " in log.read_bytes()[said:] or run.poll() is not None)
        if b" ready " not in (told := log.read_bytes()[said:]):
            ended = "ended" if run.poll() is not None else f"was not ready in {PATIENCE:g} s"
            raise OSError(f"lbctl run {ended}; it said: {told.decode(errors='replace').strip()}")

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "cli.demo.enter", self.prefix, BALANCER, sys.executable, "-m", "cli", *arguments]

    # ---- clients

    def ask(self, address: tuple[str, int], path: str = "/") -> Mapping[str, Any]:
        """What the server answers to one request on a connection of its own. Raises OSError."""
        connection = self.connect(address)
        try:
            return whoami(connection, path)
        finally:
            connection.close()

    def connect(self, address: tuple[str, int]) -> http.client.HTTPConnection:
        """A kept-alive HTTP connection from the client node. Raises OSError."""
        with namespaces.inside(self.namespace(CLIENT)):
            connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
            connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def until(self, true: Callable[[], object], patience: float = PATIENCE) -> bool:
        """Whether it became true in time."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            try:
                if true():
                    return True
            except (OSError, subprocess.CalledProcessError):
                pass
            time.sleep(0.05)
        return False

    def end_server(self, name: str) -> None:
        """Ends one server, as a crash would."""
        self.servers[name].kill()
        self.servers[name].wait()

    def close(self) -> None:
        """Ends what was started."""
        for process in self._runs:
            process.terminate()
        for process in self._runs:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for process in self.servers.values():
            process.kill()
            process.wait()


def request(
    connection: http.client.HTTPConnection, path: str = "/", headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Status and body of one request on a connection."""
    connection.request("GET", path, headers=dict(headers or {}))
    response = connection.getresponse()
    return response.status, response.read()


def whoami(
    connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    """Who answered one request on a connection, in the server's own words. Raises OSError when no server did."""
    status, body = request(connection, path, headers)
    if status != http.client.OK:
        raise OSError(f"GET {path} was answered {status}: {body.decode(errors='replace').strip()}")
    said: Mapping[str, Any] = json.loads(body)
    return said


@contextmanager
def stage(scene: str) -> Iterator[Stage]:
    """A stage for one scene of this process."""
    prefix = f"lbctl-demo-{os.getpid()}-{scene}-"
    try:
        with interruption.held():
            build.up(prefix)
            place.prepare(prefix)
            made = Stage(prefix)
        try:
            yield made
        finally:
            made.close()
    finally:
        with interruption.held():
            build.down(prefix)
            place.clear(prefix)
