"""What several connections do in one turn of the event loop costs none of them the other's."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from lb4.model import BackendTls, Health
from lb7.http1.backend_side import BackendConnection
from lb7.model import HttpLimits, Retries, Timeouts
from tests.proxy.edges import (
    GET,
    HOLD,
    POST,
    RESET,
    descriptors,
    errors_of_the_loop,
    secure_backend,
    stall,
)
from tests.proxy.test_tls import FILES
from tests.proxy.world import LOCALHOST, OK, Talk, World, answering, body_of, eventually, named, status_of


async def test_clients_that_reset_at_once_leave_nothing(world: World) -> None:
    await world.serve(await world.backend(), limits=HttpLimits(head_timeout=0.2))
    errors, before = errors_of_the_loop(), descriptors()
    for _ in range(20):
        with socket.create_connection((LOCALHOST, world.port)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    await asyncio.sleep(0.5)
    assert (len(world.proxy.listeners["web"].connections), descriptors() - before, errors) == (0, 0, [])


async def test_a_late_100_costs_others_nothing(world: World) -> None:
    await world.serve(await world.backend(answering(OK)))
    errors = errors_of_the_loop()
    start = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
    bad, good = await world.client(), await world.client()
    bad.writer.write(start + b"Transfer-Encoding: chunked\r\n\r\n")
    good.writer.write(start + b"Content-Length: 2\r\n\r\n")
    await asyncio.sleep(0.2)
    await bad.send(b"nonsense\r\n")
    assert status_of(await bad.response()) == 400
    async with asyncio.timeout(3):
        assert await good.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert errors == []


async def test_no_100_after_the_answer(world: World) -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.exactly(2)
        talk.close()

    await world.serve(await world.backend(script))
    talk = await world.client(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    await asyncio.sleep(0.1)
    await talk.send(b"ab")
    assert status_of(await talk.response()) == 502
    await asyncio.sleep(1.2)
    talk.writer.write_eof()
    assert await talk.rest() == b""


async def test_a_long_queue_when_the_last_backend_goes(world: World) -> None:
    gate = asyncio.Event()

    async def script(talk: Talk) -> None:
        while True:
            await talk.head()
            await gate.wait()
            await talk.send(OK)

    server = await world.backend(script)
    await world.serve(server, service={"max_connections": 1, "max_queued": 1000}, timeouts=Timeouts(connect=5.0))
    talks = [await world.client(GET)]
    await eventually(lambda: server.connections == 1)
    talks += [await world.client(GET) for _ in range(300)]
    service = world.proxy.services["ping"]
    await eventually(lambda: len(service.waiting) == 300)
    model = service.model.service
    down = tuple(replace(backend, health=Health.DOWN) for backend in model.backends)
    world.proxy.change_services({"ping": replace(model, backends=down)})
    gate.set()
    assert [status_of(await talk.response()) for talk in talks] == [200] + [503] * 300
    world.proxy.change_services({"ping": model})
    for talk in talks:
        await talk.send(GET)
        assert status_of(await talk.response()) == 200
    assert service.in_flight == 0


def shut_down(talk: Talk) -> None:
    """Ends a backend's sending half at once."""
    with socket.socket(fileno=os.dup(talk.writer.get_extra_info("socket").fileno())) as sock:
        sock.shutdown(socket.SHUT_WR)


def unasked(talk: Talk) -> None:
    talk.writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("end", [shut_down, unasked])
async def test_a_kept_connection_that_has_just_ended_is_not_taken(world: World, end) -> None:  # type: ignore[no-untyped-def]
    server = await world.backend()
    await world.serve(server)
    await world.ask(GET)
    other = await world.client()
    await asyncio.sleep(0.05)
    end(server.talks[0])
    other.writer.write(POST)  # both reach the proxy in one turn of its loop
    assert status_of(await other.response()) == 200


async def test_a_status_that_is_tried_again_breaks_no_kept_connection(world: World) -> None:
    gate = asyncio.Event()

    async def busy(talk: Talk) -> None:
        while True:
            head = await talk.head()
            if b"/hold" in head:
                await gate.wait()
                talk.writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
                other.writer.write(POST)  # both reach the proxy in one turn of its loop
                continue
            if head.startswith(b"POST"):
                await talk.exactly(3)
            await talk.send(named("busy"))

    first, second = await world.backend(busy), await world.backend(named("b"))
    await world.serve(first, second, retries=Retries(on=("503",)))
    other = await world.client()
    state = world.proxy.services["ping"].backends[str(first.endpoint)]
    while not state.in_flight:
        hold = await world.client(HOLD)
        await asyncio.sleep(0.05)
    if second.connections == 0 or body_of(await world.ask(GET)) != b"b":
        await world.ask(GET)
    gate.set()
    assert status_of(await other.response()) == 200
    assert body_of(await hold.response()) == b"b"
    assert not any(talk.reader.at_eof() for talk in first.talks)


async def test_an_unforeseen_error_in_connecting_is_answered(world: World, tmp_path: Path) -> None:
    server = await secure_backend(world, answering(OK), tmp_path)
    await world.serve(server, service={"tls": BackendTls(ca="ca", server_name="x" * 70 + ".example")}, files=FILES)
    errors_of_the_loop()
    async with asyncio.timeout(3):
        assert status_of(await world.ask(GET)) == 503


async def test_a_connect_that_is_cut_off_is_not_counted_for_good(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[int] = []
    server = await world.backend(stall)
    await world.serve(server)
    client = await world.client(GET)
    state = world.proxy.listeners["web"]
    await eventually(lambda: bool(state.connections))
    (connection,) = state.connections
    backend = world.proxy.services["ping"].backends[str(server.endpoint)]
    while connection.exchange is None or connection.exchange._task is None:
        await asyncio.sleep(0)
    exchange = connection.exchange
    made = BackendConnection.connection_made
    monkeypatch.setattr(BackendConnection, "connection_made", lambda self, t: (made(self, t), happened.append(1))[0])
    while not happened:
        await asyncio.sleep(0)
    assert exchange._task is not None
    exchange.whole_late()  # its deadline is over between connection_made and the task's next step
    assert status_of(await client.response()) == 504
    await asyncio.sleep(0.1)
    assert backend.connections.active == 0
