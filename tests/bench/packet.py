"""The packet hook beside a hook that does nothing and one that parses with scapy: CPU per packet, packets a second.

The rule: all hooks see the same 64-byte UDP packets in the same minute, and what counts is the ratio.
Run as root: `python -m tests.bench.packet`.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from multiprocessing.connection import Connection

from lb4.address import parse_bind, parse_endpoint
from lb4.compile.marks import QUEUE_BASE
from lb4.compile.table import Assistance
from lb4.model import Backend, Balancer, Listener, Mode, Protocol, SchedulerKind, Service
from lb4.packet.packet_queue import Handler
from lb4.packet.part import AssistPart, PacketPart
from lb4.packet.picks import picks
from lb4.packet.queue_netfilterqueue import NetfilterQueueQueue
from lb4.packet.queue_netlink import NetlinkQueue
from lb4.packet.setup import Setup
from lb4.packet.translate import Outcome, Translator
from tests.packet.hook import load, worker
from tests.packet.network import BIND, SERVERS, SOURCES, Network, network
from tests.packet.setting import balancer
from tests.packet.traffic import stream, tcp_server

QUEUE = 7
SECONDS = 1.5
ROUNDS = 3
CLIENTS = 4
LINGER = struct.pack("ii", 1, 0)
PORT = 9
PAYLOAD = b"x" * 36
"""With UDP's and IPv4's headers 64 bytes."""
RATES = (40_000, 60_000, 80_000, 100_000, 120_000, 150_000)


def nothing(data: bytes, now: float) -> Outcome:
    """Accepts."""
    return data


def ours() -> Handler:
    """The translator with one UDP listener."""
    listener = Listener("l", (parse_bind(f"{BIND}:{PORT}"),), Protocol.UDP, Mode.PACKET, "s")
    balancer = Balancer({"l": listener}, {"s": Service("s", (Backend(parse_endpoint(f"{SERVERS[0]}:{PORT}")),))})
    setup = Setup(balancer, {ip_address(SERVERS[0]): ip_address(SOURCES[0])}, seed=random.getrandbits(64))
    return Translator(setup, picks(random.random, lambda module, name: sys.exit(2)), print).step


def by_scapy() -> Handler:
    """The same rewriting as most tutorials write it."""
    from scapy.layers.inet import IP, UDP

    def handle(data: bytes, now: float) -> Outcome:
        packet = IP(data)
        packet[IP].src, packet[IP].dst = SOURCES[0], SERVERS[0]
        del packet[IP].chksum, packet[UDP].chksum
        return bytearray(bytes(packet))

    return handle


@dataclass(frozen=True)
class Hook:
    """A hook to measure; target: where its packets go to."""

    name: str
    queue: Callable[..., NetlinkQueue | NetfilterQueueQueue]
    handler: Callable[[], Handler]
    target: str
    rates: tuple[int, ...] = RATES


HOOKS = (
    Hook("nothing, NetfilterQueue", NetfilterQueueQueue, lambda: nothing, SERVERS[0]),
    Hook("nothing, own socket", NetlinkQueue, lambda: nothing, SERVERS[0]),
    Hook("lbctl, NetfilterQueue", NetfilterQueueQueue, ours, BIND),
    Hook("lbctl, own socket", NetlinkQueue, ours, BIND),
    Hook("scapy, NetfilterQueue", NetfilterQueueQueue, by_scapy, BIND, (1000,)),
)


def serve(net: Network, hook: Hook, pipe: Connection) -> None:
    """The hook's process: answers each message with CPU seconds and packets since the last."""
    import select

    os.sched_setaffinity(0, {0})
    seen = 0
    handler = hook.handler()

    def counted(data: bytes, now: float) -> Outcome:
        nonlocal seen
        seen += 1
        return handler(data, now)

    with net.inside("lb"):
        queue = hook.queue(QUEUE, counted, print)
    pipe.send("ready")
    cpu, before = time.process_time(), 0
    while True:
        for fd in select.select([queue.fileno(), pipe.fileno()], [], [])[0]:
            if fd == queue.fileno():
                queue.process()
            elif pipe.recv() == "stop":
                return
            else:
                pipe.send((time.process_time() - cpu, seen - before))
                cpu, before = time.process_time(), seen


def send(net: Network, target: str, rate: int, seconds: float) -> int:
    """Sends at a steady rate, in bursts of 20; how many it sent."""
    with net.inside("client"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((target, PORT))
    start, sent = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        for _ in range(min(int(passed * rate) - sent, 20)):
            sock.send(PAYLOAD)
            sent += 1
    sock.close()
    return sent


def measure(net: Network, hook: Hook) -> tuple[float, int, int]:
    """Microseconds of CPU a packet at the highest lossless rate, that rate, and the highest rate that was tried."""
    ours_end, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=serve, args=(net, hook, theirs), daemon=True)
    process.start()
    ours_end.recv()
    os.sched_setaffinity(0, {1})
    best, cost = 0, 0.0
    for rate in hook.rates:
        ours_end.send("count")
        ours_end.recv()
        sent = send(net, hook.target, rate, 1.0)
        time.sleep(0.3)
        ours_end.send("count")
        cpu, seen = ours_end.recv()
        if seen:
            cost = cpu / seen * 1e6
        if seen < sent:
            break
        best = sent
    ours_end.send("stop")
    process.join()
    return cost, best, sent


def hooks(net: Network) -> None:
    """The table of CPU per packet."""
    command = ["iptables", "-t", "raw", "-A", "PREROUTING", "-p", "udp", "-j", "NFQUEUE", "--queue-num"]
    subprocess.run(["ip", "netns", "exec", net.name("lb"), *command, str(QUEUE)], check=True)
    net.write("lb", "net/ipv4/conf/all/accept_local", "1")
    with net.inside("server0"):
        sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind(("0.0.0.0", PORT))
    results = {hook.name: measure(net, hook) for hook in HOOKS}
    subprocess.run(["ip", "netns", "exec", net.name("lb"), "iptables", "-t", "raw", "-F"], check=True)
    sink.close()
    base = results[HOOKS[0].name][0]
    print(f"{'64-byte UDP':<28}{'CPU µs/packet':>14}{'ratio':>8}{'lossless packets/s':>20}")
    for name, (cost, best, _) in results.items():
        print(f"{name:<28}{cost:>14.1f}{cost / base:>8.2f}{best:>20,}")


@contextmanager
def balancing(net: Network, mode: Mode, scheduler: SchedulerKind = SchedulerKind.ROUND_ROBIN) -> Iterator[None]:
    """lbctl's rules in force, and the worker that they need."""
    setting = balancer(mode, backends=2, scheduler=scheduler)
    load(net, setting, assistance=Assistance(QUEUE_BASE, QUEUE_BASE))
    with ExitStack() as stack:
        if mode is Mode.PACKET:
            stack.enter_context(worker(net, pickle.dumps(PacketPart(setting)), "packet", "-", "0", "netlink"))
        elif scheduler is SchedulerKind.LEAST_CONNECTIONS:
            stack.enter_context(worker(net, pickle.dumps(AssistPart(setting)), "assist", "-", "0", "netlink"))
        yield


def stream_rate(net: Network, mode: Mode) -> float:
    """Bytes a second of one TCP stream from server to client."""

    def pour(connection: socket.socket) -> None:
        block = bytes(1 << 20)
        while True:
            connection.sendall(block)

    with balancing(net, mode), ExitStack() as stack:
        for node in ("server0", "server1"):
            stack.enter_context(tcp_server(net, node, pour))
        client = stack.enter_context(stream(net, "client"))
        client.connect((BIND, 80))
        start, got = time.perf_counter(), 0
        while (passed := time.perf_counter() - start) < SECONDS:
            got += len(client.recv(1 << 18))
        return got / passed


def connection_rate(net: Network, mode: Mode, scheduler: SchedulerKind) -> float:
    """New connections a second, opened and reset one after the other by each of CLIENTS processes."""

    def server(name: str, ready: Connection) -> None:
        """Takes connections before anybody else gets the processor: its queue is not what is measured."""
        os.nice(-15)
        listening = stream(net, name)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("0.0.0.0", 8080))
        listening.listen(4096)
        ready.send(True)
        while True:
            listening.settimeout(None)
            listening.accept()[0].close()

    with balancing(net, mode, scheduler), ExitStack() as stack:
        for name in ("server0", "server1"):
            here, there = multiprocessing.Pipe()
            process = multiprocessing.get_context("fork").Process(target=server, args=(name, there), daemon=True)
            process.start()
            here.recv()
            stack.callback(process.join)
            stack.callback(process.kill)
        here, there = multiprocessing.Pipe()
        clients = [
            multiprocessing.get_context("fork").Process(target=open_and_reset, args=(net, there))
            for _ in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        opened = sum(here.recv() for _ in clients)
        for client in clients:
            client.join()
        return float(opened / SECONDS)


def open_and_reset(net: Network, told: Connection) -> None:
    """Connections, each ended by a reset so that its port is free at once, for SECONDS; tells how many."""
    opened, end = 0, time.perf_counter() + SECONDS
    with net.inside("client"):
        while time.perf_counter() < end:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
                client.connect((BIND, 80))
            opened += 1
    told.send(opened)


def main() -> None:
    """Prints the tables."""
    with network() as net:
        hooks(net)
        os.sched_setaffinity(0, {0, 1})
        rates = best({mode.value: partial(stream_rate, net, mode) for mode in (Mode.NAT, Mode.PACKET)})
        table("one TCP stream, bytes/s", rates)
        kinds = (SchedulerKind.ROUND_ROBIN, SchedulerKind.LEAST_CONNECTIONS)
        cases = (*((Mode.NAT, kind) for kind in kinds), (Mode.PACKET, kinds[0]))
        table(
            "new connections/s",
            best({f"{mode}, {kind}": partial(connection_rate, net, mode, kind) for mode, kind in cases}),
        )


def best(measures: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Of each the best of ROUNDS, taken by turns: what else the machine did counts for all alike."""
    rounds = [{name: measured() for name, measured in measures.items()} for _ in range(ROUNDS)]
    return {name: max(each[name] for each in rounds) for name in measures}


def table(heading: str, rates: dict[str, float]) -> None:
    """Prints rates and their ratio to the first."""
    base = next(iter(rates.values()))
    print(f"\n{heading:<28}{'rate':>16}{'ratio':>8}")
    for name, rate in rates.items():
        print(f"{name:<28}{rate:>16,.0f}{rate / base:>8.2f}")


if __name__ == "__main__":
    main()
