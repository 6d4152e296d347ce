"""A lab for tests: a client, a balancer with an lbctl of its own, three servers that say who they are.

The rule: sockets are made inside a node's namespace and used from the test; what lbctl is told goes through its
operations in this process, or through a whole process where that is what is tested.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

from cli.lab import build, namespaces, servers
from cli.lab.plan import BALANCER, CLIENT, LISTEN, SERVERS, address_of
from cli.operations import perform
from cli.trace.capture import Capture
from lb4.address import Family, IPAddress
from lb4.conntrack.message import CT_DELETE, NLM_F_ACK, NLM_F_REQUEST, message
from lb4.conntrack.table import opened

LBCTL = str(Path(sys.executable).with_name("lbctl"))
PATIENCE = 3.0
FAMILY = {"ip": socket.AF_INET, "ip6": socket.AF_INET6}
KIND = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_numbers = itertools.count()


class Lab:
    """One lab that is up, its servers running."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.servers = servers.start(prefix)

    def namespace(self, node: str) -> str:
        return f"{self.prefix}{node}"

    def inside(self, node: str) -> AbstractContextManager[None]:
        return namespaces.inside(self.namespace(node))

    def close(self) -> None:
        for process in self.servers.values():
            process.kill()
            process.wait()

    def shell(self, node: str, *command: str, stdin: str | None = None) -> str:
        """What a program prints in a node. Raises CalledProcessError."""
        with self.inside(node):
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        out, error = process.communicate(stdin, timeout=60)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command, out, error)
        return out

    def sock(
        self, kind: str, family: Family = "ip", node: str = CLIENT, source: IPAddress | None = None
    ) -> socket.socket:
        """An unconnected socket in a node, bound to the source address where one is given."""
        with self.inside(node):
            made = socket.socket(FAMILY[family], KIND[kind])
        made.settimeout(PATIENCE)
        if source is not None:
            made.bind((str(source), 0))
        return made

    def connect(self, kind: str, address: tuple[IPAddress | str, int], **where: Any) -> socket.socket:
        """A socket from a node (the client's unless it is said) to an address. Raises OSError."""
        family: Family = "ip6" if ":" in str(address[0]) else "ip"
        made = self.sock(kind, family, **where)
        try:
            made.connect((str(address[0]), address[1]))
        except OSError:
            made.close()
            raise
        return made

    def who(self, kind: str, address: tuple[IPAddress | str, int], **where: Any) -> tuple[str, str]:
        """(server, client as the server saw it) of one new flow. Raises OSError."""
        with self.connect(kind, address, **where) as made:
            return greeting(made, kind)

    def turns(self, kind: str, address: tuple[IPAddress | str, int], times: int, **where: Any) -> list[str]:
        """Who takes so many new flows, one after the other."""
        return [self.who(kind, address, **where)[0] for _ in range(times)]

    @contextmanager
    def capture(self, node: str) -> Iterator[Capture]:
        """What passes the interfaces of a node meanwhile."""
        with self.inside(node):
            capture = Capture(())
        try:
            yield capture
        finally:
            capture.close()


def greeting(sock: socket.socket, kind: str = "tcp") -> tuple[str, str]:
    """What an echo server of the lab says first: who it is and whom it saw."""
    if kind == "udp":
        sock.send(b"who")
    name, _, client = sock.recv(2000).partition(b"\n")[0].decode().partition(" ")
    return name, client


class Balancer:
    """lbctl in the lab's balancer, with directories of its own."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory
        self.environment = {"LBCTL_RUN_DIR": str(directory / "run"), "LBCTL_STATE_DIR": str(directory / "state")}
        self._runs: list[subprocess.Popen[bytes]] = []

    def do(self, name: str, **arguments: Any) -> Any:
        """An operation, in this process."""
        with self.lab.inside(BALANCER):
            return perform(name, arguments, self.environment)

    def file(self, text: str) -> str:
        path = self.directory / "lb.yaml"
        path.write_text(text)
        return str(path)

    def apply(self, text: str) -> Any:
        return self.do("apply", path=self.file(text))

    def run(self, text: str) -> subprocess.Popen[bytes]:
        """Starts `lbctl run`; it is ended with the test."""
        command = [LBCTL, "run", self.file(text)]
        with self.lab.inside(BALANCER), (self.directory / "run.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        self._runs.append(process)
        return process

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`lbctl …` as a process of its own."""
        with self.lab.inside(BALANCER):
            process = subprocess.Popen(
                [LBCTL, *arguments],
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        out, error = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, error)

    def nft(self, *arguments: str, stdin: str | None = None) -> str:
        """nft as the judge."""
        return self.lab.shell(BALANCER, "nft", *arguments, stdin=stdin)

    def close(self) -> None:
        """Ends what was started, and leaves the balancer with no table and no flow."""
        for process in self._runs:
            process.terminate()
        for process in self._runs:
            process.wait(20)
        self.nft("flush", "ruleset")
        with self.lab.inside(BALANCER), closing(opened()) as sock:
            sock.send(message(CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, 1, socket.AF_UNSPEC, b""))  # of no flow: all
            sock.recv(4096)


@contextmanager
def lab() -> Iterator[Lab]:
    """A lab of a prefix that nobody else has, gone when the block ends."""
    prefix = f"lbt-{os.getpid()}-{next(_numbers)}-"
    try:
        build.up(prefix)
        made = Lab(prefix)
        try:
            yield made
        finally:
            made.close()
    finally:
        build.down(prefix)


def addresses(port: int, family: Family = "ip", servers_: Sequence[str] = SERVERS) -> list[str]:
    """Servers' addresses with a port, as backends are written."""
    ends = [address_of(server, family) for server in servers_]
    return [f'"[{ip}]:{port}"' if ip.version == 6 else f'"{ip}:{port}"' for ip in ends]


def listen(port: int, family: Family = "ip") -> tuple[IPAddress, int]:
    """The listener address of the lab's balancer with a port."""
    return LISTEN[family], port


def shares(turns: Sequence[str]) -> dict[str, int]:
    """How often each server had its turn."""
    return dict(sorted(Counter(turns).items()))
