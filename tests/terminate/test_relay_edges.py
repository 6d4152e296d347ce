"""Connections and datagrams at the moments between two states: before the join, after the end, while all changes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time

from lb4.address import Bind, Endpoint
from lb4.model import AdminState, Backend, Listener, Mode, Protocol, Service
from lb4.terminate import tcp
from lb4.terminate.model import TerminateListener, TerminatePart
from tests.terminate.test_terminate import LOOPBACK, Answering, bound, echo, listening, service

RST = struct.pack("ii", 1, 0)


def connecting_takes(monkeypatch, seconds):
    """Every connection to a backend takes so long."""
    reach = tcp.Relay._reach

    async def slowly(self, *words):
        await asyncio.sleep(seconds)
        return await reach(self, *words)

    monkeypatch.setattr(tcp.Relay, "_reach", slowly)


async def test_client_is_not_read_while_connecting(terminator, servers, monkeypatch):
    """While the backend is being connected to, the client's bytes must wait in the kernel."""
    connecting_takes(monkeypatch, 1.0)
    address = await listening(terminator, service(await servers.start(echo)))
    with socket.create_connection(address) as sock:
        sock.setblocking(False)
        end = asyncio.get_running_loop().time() + 0.8
        sent = 0
        while asyncio.get_running_loop().time() < end:
            with contextlib.suppress(BlockingIOError):
                sent += sock.send(b"x" * 1_000_000)
            await asyncio.sleep(0)
        (relay,) = terminator._relays()
        assert len(relay.client.first) <= 2 * tcp.HIGH_WATER


async def test_backpressure_survives_the_join(terminator, servers, monkeypatch):
    """First bytes that fill the backend's buffer pause the client; the join must not read it again."""
    stuck = asyncio.Event()

    async def deaf(reader, writer):
        writer.transport.pause_reading()
        await stuck.wait()
        writer.transport.abort()

    connecting_takes(monkeypatch, 0.3)
    address = await listening(terminator, service(await servers.start(deaf)))
    with socket.create_connection(address) as sock:
        sock.setblocking(False)
        sent, end = 0, asyncio.get_running_loop().time() + 3
        while asyncio.get_running_loop().time() < end and sent < 200_000_000:
            with contextlib.suppress(BlockingIOError):
                sent += sock.send(b"x" * 1_000_000)
            await asyncio.sleep(0)
        (relay,) = terminator._relays()
        held = relay.backend.transport.get_write_buffer_size()
        stuck.set()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
    await asyncio.sleep(0.05)
    assert held < 4_000_000


async def test_reset_before_accept(terminator, servers):
    """A client that is reset before it is accepted (a probe) leaves nothing behind and logs nothing."""
    said = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    address = await listening(terminator, service(await servers.start(echo)))
    for _ in range(5):
        with socket.create_connection(address) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
    await asyncio.sleep(0.3)
    assert not terminator._relays()
    assert not said


async def test_udp_that_began_without_a_backend(terminator):
    """No backend at first (names not looked up, all down); then one: its answers reach the client."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Answering(b"one:"), local_addr=("127.0.0.1", 0))
    end = Endpoint(LOOPBACK, transport.get_extra_info("sockname")[1])
    address = await listening(terminator, service(), protocol=Protocol.UDP)
    terminator.change_services({"s": service(end)})
    with bound(socket.SOCK_DGRAM) as client:
        client.sendto(b"a", address)
        try:
            assert await asyncio.wait_for(loop.sock_recv(client, 100), 1) == b"one:a"
        finally:
            transport.close()


async def test_backend_that_speaks_first_is_paused(terminator, monkeypatch):
    """The loop is busy between the connect and the join; the backend speaks first; the client takes nothing."""
    said = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    monkeypatch.setattr(tcp, "HIGH_WATER", 8192)
    made = tcp.BackendSide.connection_made

    def busy(self, transport):
        made(self, transport)
        time.sleep(0.2)

    monkeypatch.setattr(tcp.BackendSide, "connection_made", busy)
    server = socket.create_server(("127.0.0.1", 0))
    sent = 0

    def serve():
        nonlocal sent
        sock, _ = server.accept()
        with sock, contextlib.suppress(OSError):
            while sent < 50_000_000:
                sent += sock.send(b"x" * 65536)

    serving = threading.Thread(target=serve)
    serving.start()
    listener = bound()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    bind = Bind(LOOPBACK, listener.getsockname()[1], listener.getsockname()[1])
    part = TerminatePart(
        (TerminateListener(Listener("l", (bind,), Protocol.TCP, Mode.TERMINATE, "s")),),
        {"s": service(Endpoint(LOOPBACK, server.getsockname()[1]))},
    )
    await terminator.configure(part, {})
    await terminator.adopt("l", bind, listener)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", bind.first))
    await asyncio.sleep(2)
    (relay,) = terminator._relays()
    held = relay.client.transport.get_write_buffer_size()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
    client.close()
    await asyncio.to_thread(serving.join)
    server.close()
    assert held < 2_000_000
    assert not said


async def test_disabled_while_connecting(terminator, servers, monkeypatch):
    """A backend that is disabled while it is connected to gets no connection."""
    connecting_takes(monkeypatch, 0.5)
    end = await servers.start(echo)
    address = await listening(terminator, service(end))
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"1")
    await asyncio.sleep(0.2)
    terminator.change_services({"s": Service("s", (Backend(end, admin=AdminState.DISABLED),))})
    try:
        got = await asyncio.wait_for(reader.read(1), 2)
    except ConnectionError as error:
        got = error
    writer.close()
    assert got != b"1"


async def test_next_candidate_was_disabled_meanwhile(terminator, servers, monkeypatch):
    """While the first candidate is tried, the second is taken out: the client does not get there."""
    reach = tcp.Relay._reach
    two = await servers.start(echo)
    one = Endpoint(LOOPBACK, 1)

    async def slowly(self, service, backend, client):
        if backend.endpoint == one:
            await asyncio.sleep(0.5)
        return await reach(self, service, backend, client)

    monkeypatch.setattr(tcp.Relay, "_reach", slowly)
    address = await listening(terminator, service(one, two))
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"1")
    await asyncio.sleep(0.2)
    terminator.change_services({"s": Service("s", (Backend(one), Backend(two, admin=AdminState.DISABLED)))})
    try:
        got = await asyncio.wait_for(reader.read(1), 2)
    except ConnectionError as error:
        got = error
    writer.close()
    assert got != b"1"


async def test_a_udp_flow_that_is_over_leaves_the_next_one_alone(terminator):
    """An error that comes late is the old flow's, and its client has a new one."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Answering(b"one:"), local_addr=("127.0.0.1", 0))
    end = Endpoint(LOOPBACK, transport.get_extra_info("sockname")[1])
    address = await listening(terminator, service(end), protocol=Protocol.UDP)
    (owner,) = terminator._datagrams.values()
    client = bound(socket.SOCK_DGRAM)
    client.sendto(b"a", address)
    await asyncio.sleep(0.1)
    (old,) = owner.flows.values()
    old.end()
    client.sendto(b"b", address)
    await asyncio.sleep(0.1)
    (new,) = owner.flows.values()
    old.failed()
    client.close()
    transport.close()
    assert list(owner.flows.values()) == [new]
