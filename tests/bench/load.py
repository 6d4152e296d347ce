"""The load of the layer 4 benches: requests on kept connections, new connections, bytes, time to the first byte.

The rule: what is measured runs in the lab's client, and what failed is told beside what succeeded.
"""

from __future__ import annotations

import json
import re
import socket
import statistics
import subprocess
import time
from dataclasses import dataclass

from cli.lab.plan import CLIENT
from tests.bench.contenders import Contender, Network

CLIENTS = 32


@dataclass(frozen=True, slots=True)
class Requests:
    """What wrk counted: all requests, requests a second, and those that failed."""

    count: int
    rate: float
    failed: int


def requests(net: Network, who: Contender, seconds: float, close: bool = False) -> Requests:
    """wrk, its connections shared evenly by the addresses asked; close: a connection for each request."""
    running = []
    for ip, port in who.asked:
        share = ["-t1", f"-c{CLIENTS // len(who.asked)}"] if len(who.asked) > 1 else ["-t2", f"-c{CLIENTS}"]
        header = ["-H", "Connection: close"] if close else []
        with net.inside(CLIENT):
            command = ["wrk", *share, f"-d{max(1, round(seconds))}s", *header, f"http://{ip}:{port}/"]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    said = [process.communicate()[0] for process in running]
    return Requests(sum(map(_count, said)), sum(map(_rate, said)), sum(map(_failed, said)))


def _count(said: str) -> int:
    return int(re.findall(r"(\d+) requests in", said)[0])


def _rate(said: str) -> float:
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0])


def _failed(said: str) -> int:
    errors = re.findall(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    others = re.findall(r"Non-2xx or 3xx responses: (\d+)", said)
    return sum(int(number) for found in errors for number in found) + sum(map(int, others))


def gigabits(net: Network, who: Contender, seconds: float) -> float:
    """iperf3: one TCP connection from the client, in Gbit/s as the server received them."""
    said = net.run(CLIENT, "iperf3", "-c", who.iperf, "-t", f"{seconds:g}", "-J")
    return float(json.loads(said)["end"]["sum_received"]["bits_per_second"]) / 1e9


def first_byte(net: Network, address: tuple[str, int], times: int) -> float:
    """Milliseconds from the start of a connection to the first byte of the answer, the median."""
    found = []
    for _ in range(times):
        with net.inside(CLIENT):
            sock = socket.socket()
        with sock:
            start = time.perf_counter()
            sock.connect(address)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            sock.recv(1)
            found.append(time.perf_counter() - start)
    return statistics.median(found) * 1000
