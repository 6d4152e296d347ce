"""Who is measured at layer 4: lbctl and its peers, each in the balancer of a bench's own lab, one at a time.

The rule: all get the same two backends and the same two listeners (HTTP by turns, iperf3 by client address, since its
connections belong together), and are gone when their turn is over. The lab's cables keep their offloads, as a host's.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cli.lab import build, namespaces
from cli.lab.plan import BALANCER, CLIENT, LISTEN4, SERVERS, address_of

LBCTL = str(Path(sys.executable).with_name("lbctl"))
BACKENDS = tuple(str(address_of(server)) for server in SERVERS[:2])
WEB, IPERF, BACKEND_PORT = 80, 5201, 8080
STREAM = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;"

SERVER = """
daemon off; user root; pid {dir}/{name}.pid; error_log {dir}/{name}.err; worker_processes 1; worker_rlimit_nofile 30000;
events {{ worker_connections 20000; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {dir}; proxy_temp_path {dir};
  server {{ listen 8080 backlog=8192; return 200 "Pong\\n"; }} }}
"""
OURS = """
version: 1
workers: 2
listeners:
  web: {{bind: {ip}:80, mode: {mode}, service: web}}
  iperf: {{bind: {ip}:5201, mode: {mode}, service: iperf}}
services:
  web: {{backends: ["{a}:8080", "{b}:8080"]}}
  iperf: {{scheduler: source-hash, backends: ["{a}:5201", "{b}:5201"]}}
"""
HAPROXY = """
global
  maxconn 9000
defaults
  mode tcp
  timeout client 60s
  timeout server 60s
  timeout connect 5s
listen web
  bind {ip}:80 backlog 8192
  balance roundrobin
  server a {a}:8080
  server b {b}:8080
listen iperf
  bind {ip}:5201
  balance source
  server a {a}:5201
  server b {b}:5201
"""
NGINX = """
{stream} daemon off; user root; pid {dir}/stream.pid; error_log {dir}/stream.err;
worker_processes 2; worker_rlimit_nofile 40000;
events {{ worker_connections 20000; }}
stream {{
  upstream web {{ server {a}:8080; server {b}:8080; }}
  upstream iperf {{ hash $remote_addr; server {a}:5201; server {b}:5201; }}
  server {{ listen {ip}:80 backlog=8192; proxy_pass web; }}
  server {{ listen {ip}:5201; proxy_pass iperf; }} }}
"""


@dataclass
class Network:
    """The lab of one run: its namespaces, and the processes that were started in them."""

    prefix: str
    directory: Path
    ended: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def inside(self, node: str) -> contextlib.AbstractContextManager[None]:
        return namespaces.inside(f"{self.prefix}{node}")

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **{f"LBCTL_{n}_DIR": str(self.directory / n) for n in ("RUN", "STATE")}}

    def start(self, node: str, *command: str) -> subprocess.Popen[bytes]:
        """A process in a node, its output in the run's directory."""
        with self.inside(node), (self.directory / f"{Path(command[0]).name}.out").open("ab") as out:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.environment, start_new_session=True
            )

    def run(self, node: str, *command: str) -> str:
        """What a command prints in a node. Raises CalledProcessError."""
        with self.inside(node):
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment
            )
        out, error = process.communicate()
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: {error or out}")
        return out

    def written(self, file: str, template: str, **more: object) -> str:
        path = self.directory / file
        a, b = BACKENDS
        path.write_text(template.format(ip=LISTEN4, a=a, b=b, dir=self.directory, stream=STREAM, **more))
        return str(path)

    def serve(self) -> None:
        """nginx and iperf3 in both servers."""
        for server in SERVERS[:2]:
            nginx = self.start(server, "nginx", "-c", self.written(f"{server}.conf", SERVER, name=server))
            self.ended.callback(end, nginx)
            self.ended.callback(end, self.start(server, "iperf3", "-s"))
        for address in BACKENDS:
            self.wait_for(address, BACKEND_PORT)
            self.wait_for(address, IPERF)

    def wait_for(self, address: str, port: int) -> None:
        """Until the client can connect there and gets an answer or is let in."""
        with self.inside(CLIENT):
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection((address, port), 1) as sock:
                    sock.settimeout(2)
                    if port == IPERF:
                        return
                    sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                    if sock.recv(100):
                        return
                time.sleep(0.05)
        raise SystemExit(f"nobody answers at {address} port {port}")


@contextlib.contextmanager
def network(directory: Path, serve: bool = True) -> Iterator[Network]:
    """A lab that is gone when the block ends, with servers in it unless others serve there."""
    made = Network(f"lbb-{os.getpid()}-", directory)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    try:
        build.up(made.prefix, offloads=True)
        with made.ended:
            if serve:
                made.serve()
            yield made
    finally:
        build.down(made.prefix)


@contextlib.contextmanager
def fresh_network() -> Iterator[Network]:
    """A network that nobody used before: one contender's connections leave TIME-WAIT behind, which hinders others."""
    with tempfile.TemporaryDirectory(prefix="lbctl-bench-") as directory, network(Path(directory)) as net:
        yield net


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    process.kill()
    process.wait()


@contextlib.contextmanager
def _routed(_: Network) -> Iterator[None]:
    yield


@contextlib.contextmanager
def _nat(net: Network) -> Iterator[None]:
    net.run(BALANCER, LBCTL, "apply", net.written("nat.yaml", OURS, mode="nat"))
    yield
    net.run(BALANCER, LBCTL, "flush")


@contextlib.contextmanager
def _nftlb(net: Network) -> Iterator[None]:
    farms = [farm("web", WEB, BACKEND_PORT), farm("iperf", IPERF, IPERF)]
    farms[1] |= {"scheduler": "hash", "sched-param": "srcip"}
    config = net.directory / "nftlb.json"
    config.write_text(json.dumps({"farms": farms}))
    net.run(BALANCER, "nftlb", "-e", "-k", "key", "-c", str(config))
    yield
    net.run(BALANCER, "nft", "flush", "ruleset")


def farm(name: str, port: int, backend_port: int) -> dict[str, object]:
    backends = [
        {"name": f"b{n}", "ip-addr": ip, "port": str(backend_port), "state": "up"} for n, ip in enumerate(BACKENDS)
    ]
    address = {"virtual-addr": str(LISTEN4), "virtual-ports": str(port), "protocol": "tcp", "family": "ipv4"}
    return {"name": name, "mode": "snat", "scheduler": "rr", "state": "up", "backends": backends, **address}


@contextlib.contextmanager
def _process(net: Network, *command: str) -> Iterator[int]:
    process = net.start(BALANCER, *command)
    try:
        net.wait_for(str(LISTEN4), WEB)
        yield process.pid
    finally:
        end(process)


def _haproxy(net: Network) -> contextlib.AbstractContextManager[int]:
    return _process(net, "haproxy", "-db", "-f", net.written("haproxy.cfg", HAPROXY))


def _nginx(net: Network) -> contextlib.AbstractContextManager[int]:
    return _process(net, "nginx", "-c", net.written("stream.conf", NGINX))


def _terminate(net: Network) -> contextlib.AbstractContextManager[int]:
    return _process(net, LBCTL, "run", net.written("terminate.yaml", OURS, mode="terminate"))


@dataclass(frozen=True, slots=True)
class Contender:
    """One that is measured: how it is set up, and the addresses that clients ask.

    up: gives the id of its first process, or None where it has none.
    """

    name: str
    up: Callable[[Network], contextlib.AbstractContextManager[int | None]]
    asked: tuple[tuple[str, int], ...] = ((str(LISTEN4), WEB),)
    iperf: str = str(LISTEN4)


ROUTED = Contender("routed", _routed, tuple((ip, BACKEND_PORT) for ip in BACKENDS), BACKENDS[0])
NAT = Contender("lbctl nat", _nat)
NFTLB = Contender("nftlb", _nftlb)
HAPROXY_TCP = Contender("HAProxy tcp", _haproxy)
NGINX_STREAM = Contender("nginx stream", _nginx)
TERMINATE = Contender("lbctl terminate", _terminate)
