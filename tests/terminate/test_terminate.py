"""Real connections over loopback through a Terminator."""

import asyncio
import contextlib
import socket
import ssl
from dataclasses import replace

import pytest

from lb4.address import Bind, Endpoint, parse_endpoint, parse_ip
from lb4.model import AdminState, Backend, Health, Listener, Mode, Protocol, Service
from lb4.terminate.model import TerminateListener, TerminatePart
from lb4.terminate.terminator import Terminator

LOOPBACK = parse_ip("127.0.0.1")


def bound(kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_DGRAM:
        # A port that was asked for is kept by the kernel when the socket is connected and disconnected.
        port = sock.getsockname()[1]
        sock.close()
        sock = socket.socket(socket.AF_INET, kind)
        sock.setblocking(False)
        sock.bind(("127.0.0.1", port))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    return sock


class Servers:
    """Backends on loopback that say their name, and whatever a test makes them do."""

    def __init__(self) -> None:
        self.open: list[asyncio.Server] = []

    async def start(self, handle) -> Endpoint:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        self.open.append(server)
        return Endpoint(LOOPBACK, server.sockets[0].getsockname()[1])

    async def named(self, name: bytes) -> Endpoint:
        async def handle(reader, writer):
            data = await reader.read()
            writer.write(name + b":" + data)
            writer.close()

        return await self.start(handle)


async def listening(terminator: Terminator, *services: Service, protocol=Protocol.TCP, **more) -> tuple[str, int]:
    kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
    sock = bound(kind)
    bind = Bind(LOOPBACK, sock.getsockname()[1], sock.getsockname()[1])
    listener = TerminateListener(Listener("l", (bind,), protocol, Mode.TERMINATE, services[0].name), **more)
    await terminator.configure(TerminatePart((listener,), {s.name: s for s in services}), {})
    await terminator.adopt("l", bind, sock)
    return "127.0.0.1", bind.first


def service(*endpoints: Endpoint, name: str = "s", **more) -> Service:
    return Service(name, tuple(Backend(e) for e in endpoints), **more)


async def asked(address: tuple[str, int], data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def test_connections_take_turns_and_half_close_is_passed_on(terminator, servers):
    one, two = await servers.named(b"one"), await servers.named(b"two")
    address = await listening(terminator, service(one, two))
    assert [await asked(address, b"x") for _ in range(4)] == [b"one:x", b"two:x", b"one:x", b"two:x"]


async def test_a_dead_backend_is_passed_over(terminator, servers):
    with bound() as dead:
        gone = Endpoint(LOOPBACK, dead.getsockname()[1])
    alive = await servers.named(b"alive")
    address = await listening(terminator, service(gone, alive))
    assert [await asked(address, b"x") for _ in range(2)] == [b"alive:x"] * 2
    rows = {row["backend"]: row for row in terminator.statistics()["backends"]}
    assert (rows[str(gone)]["failures"], rows[str(alive)]["total"]) == (1, 2)


async def test_no_backend_resets_the_client(terminator):
    address = await listening(terminator, service())
    with pytest.raises(ConnectionResetError):
        await asked(address, b"x")


async def test_a_large_body_arrives_whole_both_ways(terminator, servers):
    async def echo(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    address = await listening(terminator, service(await servers.start(echo)))
    body = bytes(range(256)) * 40_000
    assert await asked(address, body) == body


async def test_a_slow_reader_pauses_the_sender(terminator, servers):
    sent = 0

    async def flood(reader, writer):
        nonlocal sent
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                writer.write(b"x" * 65536)
                await writer.drain()
                sent += 65536
        writer.close()

    address = await listening(terminator, service(await servers.start(flood)))
    _, writer = await asyncio.open_connection(*address, limit=1024)
    await asyncio.sleep(0.5)
    stood = sent
    await asyncio.sleep(0.3)
    assert stood == sent < 1000 * 65536
    writer.transport.abort()
    await asyncio.sleep(0.05)


async def test_a_reset_is_passed_on(terminator, servers):
    async def reset(reader, writer):
        await reader.read(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    address = await listening(terminator, service(await servers.start(reset)))
    with pytest.raises(ConnectionResetError):
        await asked(address, b"x")


@pytest.mark.parametrize("version", [1, 2])
async def test_the_client_is_told_by_proxy_protocol(terminator, servers, version):
    from lb4.terminate.proxy_protocol import parse

    address = await listening(terminator, service(await servers.named(b""), proxy_protocol=version))
    reader, writer = await asyncio.open_connection(*address)
    mine = Endpoint(LOOPBACK, writer.get_extra_info("sockname")[1])
    writer.write(b"hello")
    writer.write_eof()
    told = (await reader.read())[1:]
    writer.close()
    header = parse(told)
    assert (header.client, header.target) == (mine, Endpoint(LOOPBACK, address[1]))
    assert told[header.size :] == b"hello"


async def test_a_trusted_header_is_taken_off_and_a_missing_one_ends_the_connection(terminator, servers):
    from ipaddress import ip_network

    trusted = (ip_network("127.0.0.0/8"),)
    address = await listening(terminator, service(await servers.named(b"s")), accept_proxy=trusted)
    assert await asked(address, b"PROXY TCP4 10.9.8.7 10.0.0.1 77 80\r\nhello") == b"s:hello"
    with pytest.raises(ConnectionResetError):
        await asked(address, b"hello, no header here")


async def test_tls_goes_by_server_name_untouched(terminator, servers):
    got: list[bytes] = []

    def noting(name: bytes):
        async def handle(reader, writer):
            got.append(name + await reader.read(3))
            writer.transport.abort()

        return handle

    plain, special = await servers.start(noting(b"plain")), await servers.start(noting(b"special"))
    services = service(plain), service(special, name="special")
    sni = {"*.example.org": "special"}
    address = await listening(terminator, *services, sni=sni)
    context = ssl.create_default_context()
    for name in ("a.example.org", "example.com"):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(*address, ssl=context, server_hostname=name)
    assert got == [b"special\x16\x03\x01", b"plain\x16\x03\x01"]


class Answering(asyncio.DatagramProtocol):
    def __init__(self, name: bytes) -> None:
        self.name = name

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(self.name + data, addr)


async def test_udp_flows_keep_their_backend_and_their_answers(terminator):
    loop = asyncio.get_running_loop()
    backends = []
    for name in (b"one:", b"two:"):
        transport, _ = await loop.create_datagram_endpoint(lambda n=name: Answering(n), local_addr=("127.0.0.1", 0))
        backends.append(transport)
    ends = [Endpoint(LOOPBACK, t.get_extra_info("sockname")[1]) for t in backends]
    address = await listening(terminator, service(*ends), protocol=Protocol.UDP)
    answers = []
    for _ in range(2):
        with bound(socket.SOCK_DGRAM) as client:
            for data in (b"a", b"b"):
                client.sendto(data, address)
                answers.append(await asyncio.wait_for(loop.sock_recv(client, 100), 5))
    assert answers == [b"one:a", b"one:b", b"two:a", b"two:b"]
    rows = terminator.statistics()["backends"]
    assert [(row["total"], row["packets"], row["bytes"]) for row in rows] == [(1, 4, 12)] * 2
    assert {flow["source"] != flow["client"] for flow in terminator.statistics()["flows"]} == {True}
    for transport in backends:
        transport.close()


async def test_a_live_connection_keeps_its_backend_through_a_change(terminator, servers):
    async def echo(reader, writer):
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    first = await servers.start(echo)
    address = await listening(terminator, service(first))
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"1")
    assert await reader.read(1) == b"1"
    terminator.change_services({"s": service(parse_endpoint("127.0.0.1:1"))})
    writer.write(b"2")
    assert await reader.read(1) == b"2"
    (row,) = terminator.statistics()["flows"]
    assert (row["backend"], row["bytes"]) == (str(first), [2, 2])
    writer.close()
    await writer.wait_closed()


async def test_draining_waits_for_the_connections_that_are_there(terminator, servers):
    address = await listening(terminator, service(await servers.named(b"s")))
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"x")
    await asyncio.sleep(0.05)
    draining = asyncio.create_task(terminator.drain(5))
    await asyncio.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    writer.write_eof()
    assert await reader.read() == b"s:x"
    writer.close()
    await draining
    assert terminator.statistics()["flows"] == []


async def echo(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(100):
            writer.write(data)
    writer.close()


async def test_a_disabled_backend_loses_its_connections_at_once(terminator, servers):
    end = await servers.start(echo)
    address = await listening(terminator, service(end))
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"1")
    assert await reader.read(1) == b"1"
    disabled = Service("s", (Backend(end, admin=AdminState.DISABLED),))
    terminator.change_services({"s": disabled})
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.close()


async def test_a_slow_reader_is_told_from_one_that_does_not_read(terminator, servers):
    """What the balancer holds for a client may last longer than the timeout; only who takes nothing is idle."""

    async def flood(reader, writer):
        await reader.readexactly(1)
        with contextlib.suppress(ConnectionError):
            writer.write(b"x" * 8_000_000)
            await writer.drain()
            await reader.read()

    address = await listening(terminator, service(await servers.start(flood)), idle_timeout=0.3)
    clients = []
    for _ in range(2):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        sock.connect(address)
        clients.append(await asyncio.open_connection(sock=sock, limit=1000))
    for _, writer in clients:
        writer.write(b"?")
    (slow, _), (deaf, _) = clients
    for _ in range(12):
        await slow.readexactly(50_000)
        now = asyncio.get_running_loop().time()
        for relay in terminator._relays():
            if relay.idle(now):
                relay.end()
        await asyncio.sleep(0.1)
    assert len(terminator._relays()) == 1
    await slow.readexactly(50_000)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await deaf.readexactly(8_000_000)
    for _, writer in clients:
        writer.transport.abort()
    await asyncio.sleep(0.05)


@pytest.mark.parametrize(("seconds", "ends"), [(0.1, True), (0.0, False)])
async def test_an_idle_connection_ends_after_its_time_and_0_is_without_end(terminator, servers, seconds, ends):
    address = await listening(terminator, service(await servers.start(echo)), idle_timeout=seconds)
    sweeping = asyncio.create_task(terminator.sweep())
    reader, writer = await asyncio.open_connection(*address)
    outcome = await asyncio.gather(asyncio.wait_for(reader.read(1), 2.5), return_exceptions=True)
    assert isinstance(outcome[0], ConnectionResetError if ends else TimeoutError)
    sweeping.cancel()
    writer.close()


async def test_udp_moves_when_its_backend_goes_down_and_is_refused_when_none_is_left(terminator):
    loop = asyncio.get_running_loop()
    transports = [
        (await loop.create_datagram_endpoint(lambda n=name: Answering(n), local_addr=("127.0.0.1", 0)))[0]
        for name in (b"one:", b"two:")
    ]
    one, two = [Backend(Endpoint(LOOPBACK, t.get_extra_info("sockname")[1])) for t in transports]
    address = await listening(terminator, Service("s", (one, two)), protocol=Protocol.UDP)
    with bound(socket.SOCK_DGRAM) as client:
        client.connect(address)
        for backends, expected in (
            ((one, two), b"one:x"),
            ((replace(one, health=Health.DOWN), two), b"two:x"),
            ((one, replace(two, admin=AdminState.DISABLED)), b"one:x"),
        ):
            terminator.change_services({"s": Service("s", backends)})
            client.send(b"x")
            assert await asyncio.wait_for(loop.sock_recv(client, 100), 5) == expected
        terminator.change_services({"s": Service("s", (replace(one, health=Health.DOWN),))})
        client.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.wait_for(loop.sock_recv(client, 100), 5)
        terminator.change_services({"s": Service("s", (two,))})
        client.send(b"x")
        assert await asyncio.wait_for(loop.sock_recv(client, 100), 5) == b"two:x"
    for transport in transports:
        transport.close()


async def test_a_full_backend_is_passed_over_and_all_full_resets(terminator, servers):
    one, two = await servers.start(echo), await servers.start(echo)
    address = await listening(terminator, service(one, two, max_connections=1))
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            _, writer = await asyncio.open_connection(*address)
            stack.callback(writer.close)
        await asyncio.sleep(0.05)
        with pytest.raises(ConnectionResetError):
            await asked(address, b"x")
    assert [row["active"] for row in terminator.statistics()["backends"]] == [1, 1]
    assert terminator.statistics()["refused"] == {"l": {"no backend": 1}}
