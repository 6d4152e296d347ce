"""The lab's servers as processes: started in their namespaces, ended, started again.

The rule: a server is started when it says it is ready, never after a pause.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO

from cli.lab import namespaces
from cli.lab.plan import DNS_PORT, ECHO_PORT, HTTP_PORTS, NAME_SERVER, RANGE_PORTS, SERVERS, address_of
from cli.lab.ports import written_ports

ROOT = Path(__file__).resolve().parents[2]


class ServerFailed(Exception):
    """A server did not come up; the message says which and what it printed."""


def start(
    prefix: str, names: tuple[str, ...] = SERVERS, log: IO[bytes] | None = None
) -> dict[str, subprocess.Popen[bytes]]:
    """Starts servers, all at once, and returns when all are ready. Raises ServerFailed."""
    started = {name: _spawn(f"{prefix}{name}", name, log) for name in names}
    for name, process in started.items():
        _await_ready(name, process)
    return started


def _spawn(namespace: str, name: str, log: IO[bytes] | None) -> subprocess.Popen[bytes]:
    ports = [f"--http={port}" for port in HTTP_PORTS]
    for kind in ("tcp", "udp"):
        ports += [f"--{kind}={ECHO_PORT}", f"--{kind}={written_ports(RANGE_PORTS)}"]
    if address_of(name) == NAME_SERVER:
        ports.append(f"--dns={DNS_PORT}")
    command = [sys.executable, "-m", "cli.lab.server", f"--name={name}", *ports]
    with namespaces.inside(namespace):
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )


def _await_ready(name: str, process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()
    if line != b"ready\n":
        raise ServerFailed(f"{name} did not start: exit status {process.wait()}")
