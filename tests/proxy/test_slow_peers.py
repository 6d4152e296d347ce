"""Peers that take little or nothing: what is held for them is bounded, and nobody else pays."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from lb7.model import HttpLimits, Timeouts
from tests.proxy.edges import (
    GET,
    HOLD,
    MIB,
    small_reader,
)
from tests.proxy.world import OK, Talk, World, body_of, status_of


async def test_a_pipelining_client_that_does_not_read_is_not_read_for(world: World) -> None:
    sent = 0

    async def script(talk: Talk) -> None:
        nonlocal sent
        if b"/hold" not in await talk.head():
            await talk.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 15000\r\n\r\n" + b"x" * 15000)
            return
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (256 * MIB))
        for _ in range(256):
            if talk.writer.transport.is_closing():
                return
            await talk.send(b"x" * MIB)
            sent += 1

    await world.serve(await world.backend(script), send_buffer=16 * 1024)
    for number in range(4, 20):
        sent = 0
        with small_reader(world) as sock:
            sock.sendall(GET * number + HOLD)
            last = -1
            await asyncio.sleep(0.1)
            while last != sent:
                last = sent
                await asyncio.sleep(0.1)
            assert sent < 20, f"{sent} MiB after {number} requests"


async def test_a_slow_client_is_not_the_backends_failure(world: World) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 15000\r\n\r\n" + b"x" * 15000
    server = await world.backend(answer)
    await world.serve(server, send_buffer=16 * 1024, timeouts=Timeouts(first_byte=0.3))
    backend = world.proxy.services["ping"].backends[str(server.endpoint)]
    for number in range(8, 16):
        with small_reader(world) as sock:
            sock.sendall(GET * number)
            await asyncio.sleep(0.5)
    assert backend.failures == 0


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
async def test_a_client_that_never_reads_ends(world: World, close: bytes) -> None:
    size = 0

    async def script(talk: Talk) -> None:
        while True:
            await talk.head()
            await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size))

    limits = HttpLimits(idle_timeout=0.3, head_timeout=0.3)
    await world.serve(await world.backend(script), send_buffer=16 * 1024, timeouts=Timeouts(idle=0.3), limits=limits)
    with contextlib.ExitStack() as stack:
        for size in range(40_000, 400_000, 20_000):  # noqa: B007 the script reads it
            stack.enter_context(small_reader(world)).sendall(GET[:-2] + close + b"\r\n")
            await asyncio.sleep(0.01)
        await asyncio.sleep(3)
        assert len(world.proxy.listeners["web"].connections) == 0


async def test_a_slow_reader_of_an_early_answer_gets_all(world: World) -> None:
    size = 120_000

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size))
        await talk.rest()

    await world.serve(await world.backend(script), send_buffer=16 * 1024)
    with small_reader(world) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc")
        await asyncio.sleep(3)
        got = b""
        sock.setblocking(False)
        with contextlib.suppress(ConnectionError):
            while data := await asyncio.get_running_loop().sock_recv(sock, 4000):
                got += data
    assert len(body_of(got)) == size


async def test_a_backend_connection_with_a_full_buffer_is_not_kept(world: World) -> None:
    gate = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.head()
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await gate.wait()
        await talk.send(OK)
        await asyncio.sleep(30)

    await world.serve(await world.backend(script))
    talk = await world.client(b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    await asyncio.sleep(0.05)
    (connection,) = world.proxy.listeners["web"].connections
    while not connection._paused:
        talk.writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        await asyncio.sleep(0)
    connection.resume_reading()  # as where the last bytes of a request are those that fill the buffer
    talk.writer.write(b"0\r\n\r\n")
    await asyncio.sleep(0.1)
    gate.set()
    assert status_of(await talk.response()) == 200
    other = await world.client(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (256 * MIB))
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while sent < 256:
            await other.send(b"x" * MIB)
            sent += 1

    task = asyncio.create_task(flood())
    await asyncio.sleep(1.5)
    task.cancel()
    assert sent < 64
