"""`lbctl run` with mode packet: status and flows, and a supervisor that is killed and started anew."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.packet.network import BIND, Network, network
from tests.packet.test_traffic import talk
from tests.packet.traffic import stream, tcp_server

pytestmark = pytest.mark.root

LBCTL = str(Path(sys.executable).parent / "lbctl")
CONFIG = """version: 1
workers: 2
listeners:
  web: {bind: "192.0.2.10:80", mode: packet, service: web}
services:
  web: {backends: ["10.0.1.2:8080", "10.0.2.2:8080"]}
"""


class Host:
    """lbctl in the balancer's namespace, with directories of its own."""

    def __init__(self, net: Network, directory: Path) -> None:
        self._within = ["ip", "netns", "exec", net.name("lb"), LBCTL]
        self.file, self._socket = directory / "lb.yaml", directory / "run" / "control.sock"
        self._environment = {
            **os.environ, "LBCTL_RUN_DIR": str(directory / "run"), "LBCTL_STATE_DIR": str(directory / "state")
        }  # fmt: skip

    def __call__(self, *arguments: str) -> Any:
        command = [*self._within, "--json", *arguments]
        done = subprocess.run(command, check=True, capture_output=True, env=self._environment)
        return json.loads(done.stdout)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        command = [*self._within, "run", str(self.file)]
        with subprocess.Popen(command, env=self._environment, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                assert any(" ready " in line for line in process.stderr)
                yield process
            finally:
                process.kill()


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Network, Host]]:
    with network() as net:
        made = Host(net, Path(tmp_path_factory.mktemp("host")))
        made.file.write_text(CONFIG)
        yield net, made


def test_run(host: tuple[Network, Host]) -> None:
    net, lbctl = host
    with ExitStack() as stack:
        for i in (0, 1):
            stack.enter_context(tcp_server(net, f"server{i}", talk))
        clients = [stack.enter_context(stream(net, "client")) for _ in range(6)]
        with lbctl.running():
            for client in clients:
                client.connect((BIND, 80))
                client.sendall(b"hello")
                assert client.recv(10) == b"hello"
            check_documents(lbctl)
        with lbctl.running():
            for client in clients:
                client.sendall(b"again")
                assert client.recv(10) == b"again", "the flows outlive the processes"
            lbctl.file.write_text(CONFIG.replace(', "10.0.2.2:8080"', ""))
            lbctl("apply", str(lbctl.file))
            time.sleep(0.2)
            assert {flow["backend"] for flow in lbctl("flows")} == {"10.0.1.2:8080"}
            assert lbctl("plan", str(lbctl.file))["changes"] == []


def test_connections_of_a_drained_backend_outlive_its_removal(host: tuple[Network, Host]) -> None:
    net, lbctl = host
    with ExitStack() as stack:
        for i in (0, 1):
            stack.enter_context(tcp_server(net, f"server{i}", talk))
        clients = [stack.enter_context(stream(net, "client")) for _ in range(4)]
        with lbctl.running():
            for client in clients:
                client.connect((BIND, 80))
                client.sendall(b"hello")
                assert client.recv(10) == b"hello"
            lbctl("drain", "web", "10.0.2.2:8080")
            for step in ("", "# another\n"):
                lbctl.file.write_text(CONFIG.replace(', "10.0.2.2:8080"', "") + step)
                lbctl("apply", str(lbctl.file))
                assert lbctl("plan", str(lbctl.file))["changes"] == []
                for client in clients:
                    client.sendall(b"still")
                    assert client.recv(10) == b"still"
            assert "10.0.2.2" in replies(net)
            for client in clients:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            lbctl.file.write_text(CONFIG.replace(', "10.0.2.2:8080"', ""))
            deadline = time.monotonic() + 60
            while "10.0.2.2" in replies(net) and time.monotonic() < deadline:
                time.sleep(1)
                lbctl.file.write_text(lbctl.file.read_text() + "# another\n")
                lbctl("apply", str(lbctl.file))
            assert "10.0.2.2" not in replies(net)


def replies(net: Network) -> str:
    """Whose answers come to the hook, as the kernel has it."""
    command = ["ip", "netns", "exec", net.name("lb"), "nft", "list", "map", "inet", "lbctl", "packet-replies4"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def check_documents(lbctl: Host) -> None:
    backends = lbctl("status")["services"][0]["backends"]
    assert sum(backend["connections"]["active"] for backend in backends) == 6
    assert sum(backend["connections"]["total"] for backend in backends) == 6
    assert all(backend["packets"] > 0 and backend["bytes"] > 0 for backend in backends)
    flows = lbctl("flows")
    assert {flow["target"] for flow in flows} == {"192.0.2.10:80"}
    assert {flow["state"] for flow in flows} == {"ESTABLISHED"}
    assert len({(flow["source"], flow["backend"]) for flow in flows}) == 6
    assert [queue["flows"] for queue in lbctl("status")["queues"]] != [0, 0]
