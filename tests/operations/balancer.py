"""A balancer in a namespace with a client and two servers, operated in this process or by whole processes.

The rule: sockets are made inside a node's namespace and stay there, so clients and servers are threads of the test.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.operations import perform
from tests.packet.network import BIND, SERVERS, Network

LBCTL = str(Path(sys.executable).with_name("lbctl"))
PORT, DNS = 80, 53
FIRST, SECOND = (f"{address}:8080" for address in SERVERS)
UDP_FIRST, UDP_SECOND = (f"{address}:5353" for address in SERVERS)

WEB = f"""version: 1
listeners:
  web: {{bind: "{BIND}:{PORT}", service: web}}
services:
  web: {{backends: ["{FIRST}", "{SECOND}"]}}
"""
WEB_FIRST = WEB.replace(f', "{SECOND}"', "")
WEB_SECOND = WEB.replace(f'"{FIRST}", ', "")

BOTH = f"""version: 1
listeners:
  web: {{bind: "{BIND}:{PORT}", service: web}}
  dns: {{bind: "{BIND}:{DNS}", protocol: udp, service: resolvers}}
services:
  web: {{backends: ["{FIRST}", "{SECOND}"]}}
  resolvers: {{backends: ["{UDP_FIRST}", "{UDP_SECOND}"]}}
"""


class Balancer:
    """lbctl in the namespace `lb` of a network, with directories of its own."""

    def __init__(self, network: Network, directory: Path) -> None:
        self.network = network
        self.directory = directory
        self.environment = {"LBCTL_RUN_DIR": str(directory / "run"), "LBCTL_STATE_DIR": str(directory / "state")}

    def do(self, name: str, **arguments: Any) -> Any:
        """An operation, in this process."""
        with self.network.inside("lb"):
            return perform(name, arguments, self.environment)

    def file(self, text: str, name: str = "lb.yaml") -> str:
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def apply(self, text: str, **more: Any) -> Any:
        return self.do("apply", path=self.file(text), **more)

    def plan(self, text: str) -> list[str]:
        changes = self.do("plan", path=self.file(text))["changes"]
        return [f"{c['action']} {c['kind']} {c['name']}" + " (drift)" * c.get("drift", False) for c in changes]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`lbctl …` as a process of its own."""
        command = ["ip", "netns", "exec", self.network.name("lb"), LBCTL, *arguments]
        environment: Mapping[str, str] = {**os.environ, **self.environment}
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """(exit status, standard output, standard error) of `lbctl …`."""
        process = self.start(*arguments)
        out, error = process.communicate(timeout=60)
        return process.returncode, out, error

    def nft(self, *arguments: str) -> str:
        """nft as the judge, or as somebody else who edits."""
        command = ["ip", "netns", "exec", self.network.name("lb"), "nft", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def ruleset(self) -> Any:
        return json.loads(self.nft("-j", "-s", "list", "ruleset"))

    def tables(self) -> list[str]:
        return [line for line in self.nft("list", "tables").splitlines() if line]

    def client(self, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        with self.network.inside("client"):
            sock = socket.socket(socket.AF_INET, kind)
        sock.settimeout(2)
        return sock

    def connected(self) -> socket.socket:
        sock = self.client()
        try:
            sock.connect((BIND, PORT))
        except OSError:
            sock.close()
            raise
        return sock

    def answers(self, times: int = 8) -> Counter[str]:
        """Who answers that many new connections."""
        seen: Counter[str] = Counter()
        for _ in range(times):
            with self.connected() as sock:
                seen[asked(sock)] += 1
        return seen


def asked(sock: socket.socket) -> str:
    """Who answers on a connection."""
    sock.sendall(b"who\n")
    return sock.recv(100).decode()


def asked_by_udp(sock: socket.socket) -> str:
    """Who answers a datagram."""
    sock.sendto(b"who", (BIND, DNS))
    return sock.recv(100).decode()


class Servers:
    """On both servers a TCP server on 8080 and a UDP one on 5353 that answer with their node's name."""

    def __init__(self, network: Network) -> None:
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        for node in ("server0", "server1"):
            with network.inside(node):
                stream = socket.create_server(("0.0.0.0", 8080), backlog=64)
                datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                datagram.bind(("0.0.0.0", 5353))
            self._serve(self._accept, stream, node)
            self._serve(self._echo, datagram, node)

    def _serve(self, work: Any, sock: socket.socket, node: str) -> None:
        self._sockets.append(sock)
        thread = threading.Thread(target=work, args=(sock, node.encode()), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, sock: socket.socket, name: bytes) -> None:
        while True:
            try:
                connection, _ = sock.accept()
            except OSError:
                return
            self._serve(self._answer, connection, name.decode())

    def _answer(self, sock: socket.socket, name: bytes) -> None:
        with sock:
            try:
                while sock.recv(100):
                    sock.sendall(name)
            except OSError:
                return

    def _echo(self, sock: socket.socket, name: bytes) -> None:
        while True:
            try:
                _, whom = sock.recvfrom(100)
                if whom is None:  # shut down
                    return
                sock.sendto(name, whom)
            except OSError:
                return

    def close(self) -> None:
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(2)
