"""Real connections through the running hook: digests, restarts, exceptions, several workers, large datagrams."""

from __future__ import annotations

import pickle
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lb4.packet.host import HostUnfit
from lb4.packet.part import PacketPart
from lb4.packet.service import PacketService
from tests.packet.hook import Worker, load, worker
from tests.packet.network import BIND, BIND6, Network, network
from tests.packet.setting import balancer
from tests.packet.traffic import datagram, digest, pattern, received, stream, tcp_server, udp_echo

pytestmark = pytest.mark.root

POST = 400 * 1024
DOWNLOAD = 100 * 1024 * 1024


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network() as made:
        yield made


@contextmanager
def serving(
    net: Network, *arguments: str, workers: int = 1, backends: int = 1, directory: str = "-"
) -> Iterator[list[Worker]]:
    """The hook with as many workers."""
    setting = balancer(backends=backends)
    load(net, setting, workers)
    part = pickle.dumps(PacketPart(setting, workers))
    with ExitStack() as stack:
        yield [
            stack.enter_context(worker(net, part, "packet", directory, str(i), *(arguments or ("netlink",))))
            for i in range(workers)
        ]


def upload(connection: socket.socket) -> None:
    """Reads until the client has closed its side, answers with the digest."""
    connection.sendall(digest(received(connection)).encode())


def download(connection: socket.socket) -> None:
    for block in pattern(DOWNLOAD):
        connection.sendall(block)


def talk(connection: socket.socket) -> None:
    """Answers every block with the same block."""
    for block in received(connection):
        connection.sendall(block)


@pytest.mark.parametrize("queue", ["netlink", "netfilterqueue"])
def test_a_post_comes_out_with_the_same_digest(net: Network, queue: str) -> None:
    with serving(net, queue), tcp_server(net, "server0", upload), stream(net, "client") as client:
        client.connect((BIND, 80))
        for block in pattern(POST):
            client.sendall(block)
        client.shutdown(socket.SHUT_WR)
        assert b"".join(received(client)).decode() == digest(pattern(POST))


def test_a_download_comes_out_with_the_same_digest(net: Network) -> None:
    with serving(net), tcp_server(net, "server0", download), stream(net, "client") as client:
        client.connect((BIND, 80))
        assert digest(received(client)) == digest(pattern(DOWNLOAD))


def test_ipv6(net: Network) -> None:
    server = tcp_server(net, "server0", upload, family=socket.AF_INET6)
    with serving(net), server, stream(net, "client", socket.AF_INET6) as client:
        client.connect((BIND6, 80))
        client.sendall(b"six")
        client.shutdown(socket.SHUT_WR)
        assert b"".join(received(client)).decode() == digest(iter([b"six"]))


def test_datagrams_larger_than_the_mtu_pass_whole(net: Network) -> None:
    """Conntrack's defragmentation puts them together before the queue, the kernel takes them apart after it."""
    with serving(net), udp_echo(net, "server0"), datagram(net, "client") as client:
        client.connect((BIND, 80))
        for size in (1400, 3000, 20_000, 60_000):
            client.send(bytes(i & 0xFF for i in range(size)))
            assert client.recv(65536) == bytes(i & 0xFF for i in range(size))


def test_a_killed_worker_loses_no_connection(net: Network, tmp_path: Path) -> None:
    """Connections talk all the time; the worker is killed and another started in the middle of it."""
    errors: list[Exception] = []
    rounds = [0] * 8
    stopped = threading.Event()

    def chat(number: int) -> None:
        try:
            with stream(net, "client") as client:
                client.connect((BIND, 80))
                while not stopped.is_set():
                    word = f"{number}:{rounds[number]}".encode() * 50
                    client.sendall(word)
                    heard = b""
                    while len(heard) < len(word):
                        heard += client.recv(65536) or (_ for _ in ()).throw(ConnectionError("closed"))
                    assert heard == word
                    rounds[number] += 1
                    time.sleep(0.01)
        except (OSError, AssertionError) as error:
            errors.append(error)

    chats = [threading.Thread(target=chat, args=(i,), daemon=True) for i in range(len(rounds))]
    with ExitStack() as stack:
        stack.enter_context(tcp_server(net, "server0", talk))
        with serving(net, directory=str(tmp_path)) as (first,):
            for thread in chats:
                thread.start()
            time.sleep(0.3)
            first.kill()
        before = list(rounds)
        with serving(net, directory=str(tmp_path)) as (second,):
            time.sleep(1.0)
            packet = second.statistics()["packet"]
            stopped.set()
            for thread in chats:
                thread.join(10)
        assert errors == []
        assert isinstance(packet, dict)
        assert packet["resumed"] == len(rounds)
        assert all(after > was for after, was in zip(rounds, before, strict=True)), "every connection went on"


def test_an_exception_costs_one_packet(net: Network) -> None:
    with serving(net, "netlink", "raise") as (hook,), udp_echo(net, "server0"), datagram(net, "client") as client:
        client.connect((BIND, 80))
        for word in (b"one", b"RAISE", b"two"):
            client.send(word)
        assert [client.recv(100), client.recv(100)] == [b"one", b"two"]
        packet = hook.statistics()["packet"]
        assert isinstance(packet, dict)
        assert (packet["failed"], packet["waiting"]) == (1, 0)


def test_several_workers_share_the_flows_and_keep_both_directions(net: Network) -> None:
    with serving(net, workers=2, backends=2) as hooks, ExitStack() as stack:
        for i in (0, 1):
            stack.enter_context(tcp_server(net, f"server{i}", talk))
        clients = [stack.enter_context(stream(net, "client")) for _ in range(40)]
        for client in clients:
            client.connect((BIND, 80))
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"
        flows = [statistics["packet"]["flows"] for statistics in (hook.statistics() for hook in hooks)]  # type: ignore[index]
        assert sum(flows) == 40
        assert min(flows) > 0


def test_nobody_at_the_backend_is_told_to_the_client(net: Network) -> None:
    with serving(net), stream(net, "client") as client, datagram(net, "client") as asking:
        with pytest.raises(ConnectionRefusedError):
            client.connect((BIND, 80))
        asking.connect((BIND, 80))
        asking.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            asking.recv(100)


def test_no_backend_left_is_told_to_the_client(net: Network) -> None:
    setting = balancer(backends=0)
    load(net, setting)
    with worker(net, pickle.dumps(PacketPart(setting)), "packet", "-", "0", "netlink"):
        with stream(net, "client") as client, pytest.raises(ConnectionRefusedError):
            client.connect((BIND, 80))
        with datagram(net, "client") as asking:
            asking.connect((BIND, 80))
            asking.send(b"anybody?")
            with pytest.raises(ConnectionRefusedError):
                asking.recv(100)


def test_an_mtu_above_the_copy_limit_is_refused_with_the_reason(net: Network) -> None:
    from lb4.packet.queue_netfilterqueue import NetfilterQueueQueue

    net.ip("lb", "link", "set", "eth1", "mtu", "9000")
    try:
        with net.inside("lb"):
            service = PacketService(PacketPart(balancer()), 0, None, print)
            with pytest.raises(HostUnfit, match=r"4016 bytes.*eth1 \(MTU 9000\).*ip link set eth1 mtu 4016"):
                service.start(NetfilterQueueQueue)
            service.start()
            service.stop()
    finally:
        net.ip("lb", "link", "set", "eth1", "mtu", "1500")


def test_strict_reverse_path_filtering_is_refused_with_the_fix(net: Network) -> None:
    net.write("lb", "net/ipv4/conf/all/rp_filter", "1")
    try:
        with net.inside("lb"):
            service = PacketService(PacketPart(balancer()), 0, None, print)
            with pytest.raises(HostUnfit, match=r"rp_filter=2"):
                service.start()
    finally:
        net.write("lb", "net/ipv4/conf/all/rp_filter", "0")
