"""Namespaces for packet tests: a client, the balancer and two servers, made with `ip` and removed whatever happens.

The rule: names start with lbt-<pid>, so two runs at once do not meet, and nothing outside is touched.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
_numbers = itertools.count()

CLIENT, CLIENT6 = "10.0.0.2", "fd00::2"
BIND, BIND6 = "192.0.2.10", "2001:db8::10"
SERVERS = ("10.0.1.2", "10.0.2.2")
SERVERS6 = ("fd00:1::2", "fd00:2::2")
SOURCES = ("10.0.1.1", "10.0.2.1")


class Network:
    """client — balancer — server0, server1; each link a veth pair with IPv4 and IPv6."""

    def __init__(self) -> None:
        self.prefix = f"lbt-{os.getpid()}-n{next(_numbers)}"

    def name(self, node: str) -> str:
        return f"{self.prefix}-{node}"

    def build(self) -> None:
        for node in ("client", "lb", "server0", "server1"):
            run("ip", "netns", "add", self.name(node))
            self.ip(node, "link", "set", "lo", "up")
            self.write(node, "net/ipv6/conf/default/accept_dad", "0")
        self._link("client", 0)
        for i in (0, 1):
            self._link(f"server{i}", i + 1)
        self.ip("lb", "addr", "add", f"{BIND}/32", "dev", "lo")
        self.ip("lb", "addr", "add", f"{BIND6}/128", "dev", "lo", "nodad")
        for key in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            self.write("lb", f"net/{key.replace('.', '/')}", "1")

    def _link(self, node: str, number: int) -> None:
        # From within: a name that the host's own network has is refused, wherever the link is to be.
        self.ip("lb", "link", "add", f"eth{number}", "type", "veth", "peer", "name", "eth0", "netns", self.name(node))
        for where, device, host in ("lb", f"eth{number}", 1), (node, "eth0", 2):
            self.ip(where, "addr", "add", f"10.0.{number}.{host}/24", "dev", device)
            self.ip(where, "addr", "add", f"fd00:{number}::{host}/64", "dev", device, "nodad")
            self.ip(where, "link", "set", device, "up")
        self.ip(node, "route", "add", "default", "via", f"10.0.{number}.1")
        self.ip(node, "-6", "route", "add", "default", "via", f"fd00:{number}::1")

    def ip(self, node: str, *arguments: str) -> None:
        run("ip", "-n", self.name(node), *arguments)

    def write(self, node: str, path: str, value: str) -> None:
        with self.inside(node):
            Path("/proc/sys", path).write_text(value)

    @contextmanager
    def inside(self, node: str) -> Iterator[None]:
        """Puts the calling thread into a node's network namespace."""
        libc = ctypes.CDLL(None, use_errno=True)
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name(node)}", os.O_RDONLY)
        try:
            assert libc.setns(there, CLONE_NEWNET) == 0
            yield
        finally:
            libc.setns(here, CLONE_NEWNET)
            os.close(here)
            os.close(there)

    def remove(self) -> None:
        for node in ("client", "lb", "server0", "server1"):
            subprocess.run(["ip", "netns", "del", self.name(node)], check=False, capture_output=True)


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextmanager
def network() -> Iterator[Network]:
    made = Network()
    try:
        made.build()
        yield made
    finally:
        made.remove()
