"""What the kernel's work on a packet costs: routed, tracked, translated by bare rules, by nftlb, by `nat`.

`python -m tests.bench.forwarding` prints a Markdown table. One thread is client and server at once, so that all the
work of a packet's way, through three namespaces and back, is done in its system calls, and its CPU time is the cost:
other programs on the machine hardly change it, as they do rates. Needs root; works in network namespaces of its own.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cli.lab.plan import BALANCER, CLIENT, LISTEN4, SERVERS
from tests.bench.contenders import BACKENDS, LBCTL, Network, farm, network

PORT = 5300
ROUNDS = 5
DATAGRAMS, REQUESTS, CHUNKS, CONNECTIONS = 12_000, 6_000, 1_500, 600
CHUNK = b"z" * 65536
FILE = """
version: 1
listeners:
  udp: {{bind: "{ip}:5300", protocol: udp, service: both}}
  tcp: {{bind: "{ip}:5300", service: both}}
services:
  both: {{backends: ["{a}:5300", "{b}:5300"]}}
"""
TRACKED = """
table ip t {{
  chain pre {{ type filter hook prerouting priority 0; ct state invalid drop; }}
}}
"""
BARE = """
table ip t {{
  chain pre {{ type nat hook prerouting priority -100; ip daddr {ip} meta l4proto {{ tcp, udp }} dnat to {a}; }}
  chain post {{ type nat hook postrouting priority 100; masquerade; }}
}}
"""
Costs = tuple[float, float, float, float]
"""Microseconds of CPU: a datagram one way, a request and its answer by TCP, 64 KiB by TCP, a whole connection."""


class Ends:
    """Sockets at both ends."""

    def __init__(self, net: Network, ended: contextlib.ExitStack) -> None:
        self.net = net
        self.listening: list[socket.socket] = []
        for server in SERVERS[:2]:
            with net.inside(server):
                sink = ended.enter_context(socket.socket(type=socket.SOCK_DGRAM))
                sink.bind(("0.0.0.0", PORT))
                self.listening.append(ended.enter_context(socket.create_server(("0.0.0.0", PORT))))

    def costs(self, address: tuple[str, int]) -> Costs:
        """All that is measured of one way to the servers."""
        with self.net.inside(CLIENT):
            datagrams, stream = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
        with datagrams, stream:
            datagrams.connect(address)
            stream.connect(address)
            ready, _, _ = select.select(self.listening, [], [], 5)
            accepted, _ = ready[0].accept()
            with accepted:
                for sock in (stream, accepted):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return (
                    cost(DATAGRAMS, lambda: datagrams.send(CHUNK[:64])),
                    cost(REQUESTS, lambda: request(stream, accepted)),
                    cost(CHUNKS, lambda: chunk(stream, accepted)),
                    cost(CONNECTIONS, lambda: self.connection(address)),
                )

    def connection(self, address: tuple[str, int]) -> None:
        """From the first packet to the last."""
        with self.net.inside(CLIENT):
            client = socket.socket()
        with client:
            client.connect(address)
            ready, _, _ = select.select(self.listening, [], [], 5)
            with ready[0].accept()[0] as server:
                request(client, server)


def cost(times: int, work: Callable[[], object]) -> float:
    """Microseconds of this thread's CPU each time, softirqs in its system calls with it."""
    work()
    before = time.thread_time_ns()
    for _ in range(times):
        work()
    return (time.thread_time_ns() - before) / times / 1000


def request(client: socket.socket, server: socket.socket) -> None:
    client.send(CHUNK[:60])
    server.recv(1000)
    server.send(CHUNK[:200])
    client.recv(1000)


def chunk(client: socket.socket, server: socket.socket) -> None:
    client.sendall(CHUNK)
    got = 0
    while got < len(CHUNK):
        got += len(server.recv(1 << 20))


def nothing(net: Network) -> None:
    """No rules at all."""


def rules(text: str) -> Callable[[Network], None]:
    return lambda net: _load(net, text)


def _load(net: Network, text: str) -> None:
    net.run(BALANCER, "nft", "-f", net.written("rules.nft", text))


def nftlb(net: Network) -> None:
    farms = [farm(name, PORT, PORT) | {"protocol": name} for name in ("tcp", "udp")]
    config = net.directory / "nftlb.json"
    config.write_text(json.dumps({"farms": farms}))
    net.run(BALANCER, "nftlb", "-e", "-k", "key", "-c", str(config))


def nat(net: Network) -> None:
    net.run(BALANCER, LBCTL, "apply", net.written("nat.yaml", FILE))


def uncounted(net: Network) -> None:
    """`nat` without what counts packets and bytes of each backend."""
    nat(net)
    _load(net, "delete chain inet lbctl postrouting-traffic\nflush chain inet lbctl prerouting-filter\n")
    _load(net, "add rule inet lbctl prerouting-filter ct state invalid goto invalid\n")


WAYS: dict[str, tuple[str, Callable[[Network], None]]] = {
    "routed": (BACKENDS[0], nothing),
    "routed and tracked": (BACKENDS[0], rules(TRACKED)),
    "bare `dnat` and `masquerade`, one backend": (str(LISTEN4), rules(BARE)),
    "nftlb": (str(LISTEN4), nftlb),
    "lbctl nat": (str(LISTEN4), nat),
    "lbctl nat, its traffic counts taken out": (str(LISTEN4), uncounted),
}


def table(found: dict[str, list[Costs]]) -> Iterator[str]:
    yield "| way | UDP packet, µs | TCP request, µs | 64 KiB of TCP, µs | TCP connection, µs | routed / it |"
    yield "|---|---:|---:|---:|---:|---|"
    middles = {name: [statistics.median(each) for each in zip(*costs, strict=True)] for name, costs in found.items()}
    for name, middle in middles.items():
        ratios = ", ".join(f"{base / own:.2f}" for base, own in zip(middles["routed"], middle, strict=True))
        yield f"| {name} | " + " | ".join(f"{each:.2f}" for each in middle) + f" | {ratios} |"


def main() -> None:
    found: dict[str, list[Costs]] = {name: [] for name in WAYS}
    with (
        contextlib.ExitStack() as ended,
        tempfile.TemporaryDirectory(prefix="lbctl-bench-") as directory,
        network(Path(directory), serve=False) as net,
    ):
        ends = Ends(net, ended)
        for _ in range(ROUNDS):
            for name, (address, set_up) in WAYS.items():
                set_up(net)
                found[name].append(ends.costs((address, PORT)))
                net.run(BALANCER, "nft", "flush", "ruleset")
    print(*table(found), sep="\n")


if __name__ == "__main__":
    main()
