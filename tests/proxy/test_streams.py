"""Bodies as streams: whatever the pieces they come in, and at whatever speed."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path

import pytest

from tests.proxy.world import OK, Server, Talk, World, answering, status_of, without_added

MIB = 1024 * 1024
REQUEST = (
    b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4;x=1\r\nbody\r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n"
    b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n"
    b"PUT /c HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
)
ANSWERS = (
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-S: 1\r\n\r\n"
)


def content(transfer: bytes) -> bytes:
    """A chunked body's content and trailers, without how it was cut into chunks."""
    found = b""
    while (size := int(re.match(rb"[0-9a-fA-F]+", transfer)[0], 16)) > 0:  # type: ignore[index]
        _, _, transfer = transfer.partition(b"\r\n")
        found += transfer[:size]
        transfer = transfer[size + 2 :]
    return found + transfer


async def test_requests_split_at_every_position(world: World) -> None:
    heads: list[bytes] = []
    await world.serve(await world.backend(answering(OK, heads=heads)))
    seen = set()
    for at in range(1, len(REQUEST)):
        heads.clear()
        talk = await world.client(REQUEST[:at])
        await asyncio.sleep(0)
        await talk.send(REQUEST[at:])
        assert [status_of(await talk.response()) for _ in range(3)] == [200] * 3
        post = without_added(heads[0]).partition(b"\r\n\r\n")
        seen.add((post[0], content(post[2]), without_added(heads[1]), without_added(heads[2])))
        talk.close()
    assert len(seen) == 1
    assert next(iter(seen))[1] == b"body01234567890\r\nX-T: 1\r\n\r\n"


async def test_responses_split_at_every_position(world: World) -> None:
    cut = 0

    async def script(talk: Talk) -> None:
        while True:
            await talk.head()
            await talk.send(ANSWERS[:cut])
            await asyncio.sleep(0)
            await talk.send(ANSWERS[cut:])

    server = await world.backend(script)
    await world.serve(server)
    seen = set()
    talk = await world.client()
    for cut in range(1, len(ANSWERS)):  # noqa: B007 the script reads it
        await talk.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        interim, head = await talk.head(), await talk.head()
        seen.add((interim, head, content(await talk.chunks())))
    assert len(seen) == 1
    assert next(iter(seen))[2] == b"abcde0\r\nX-S: 1\r\n\r\n"
    assert server.connections == 1


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_both_ways(world: World, chunked: bool) -> None:
    async def echo(talk: Talk) -> None:
        await talk.head()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (8 * MIB))
        if not chunked:
            for _ in range(128):
                await talk.send(await talk.exactly(MIB // 16))
            return
        body = content(await talk.chunks())
        await talk.send(body[: 8 * MIB])

    await world.serve(await world.backend(echo))
    data = random.Random(1).randbytes(8 * MIB)
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(data)
    talk = await world.client(b"POST / HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n")

    async def upload() -> None:
        for at in range(0, len(data), 100_000):
            piece = data[at : at + 100_000]
            await talk.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            await talk.send(b"0\r\n\r\n")

    task = asyncio.create_task(upload())
    assert status_of(await talk.head()) == 200
    assert await talk.exactly(len(data)) == data
    await task


def resident() -> int:
    """Bytes of this process in memory."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]


async def test_a_slow_reader_holds_the_backend_back(world: World) -> None:
    sent = 0

    async def flood(talk: Talk) -> None:
        nonlocal sent
        await talk.head()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1024 * MIB))
        block = b"x" * MIB
        for _ in range(1024):
            await talk.send(block)
            sent += 1

    await world.serve(await world.backend(flood))
    before = resident()
    talk = await world.client(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await talk.head()
    talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
    last = -1
    while last != sent:
        last = sent
        await asyncio.sleep(0.2)
    assert sent < 64
    assert resident() - before < 20 * MIB


async def test_a_reader_that_is_slow_at_the_end_leaves_the_backend_readable(world: World) -> None:
    """The last bytes of a response may fill the client's buffer; the backend's connection is not the client's then."""
    size = 0

    async def script(talk: Talk) -> None:
        while True:
            await talk.head()
            await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size))

    server = await world.backend(script)
    await world.serve(server, send_buffer=32 * 1024)
    for size in range(64 * 1024, MIB, 32 * 1024):
        talk = await world.client(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await talk.head()
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.03)
        talk.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await talk.exactly(size)) == size
        talk.close()
    assert server.connections == 1


async def test_a_slow_backend_holds_the_client_back(world: World) -> None:
    async def slow(talk: Talk) -> None:
        await talk.head()
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(30)

    await world.serve(await world.backend(slow))
    talk = await world.client(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (1024 * MIB))
    sent = 0

    async def flood() -> None:
        nonlocal sent
        block = b"x" * MIB
        while True:
            talk.writer.write(block)
            await talk.writer.drain()
            sent += 1

    before = resident()
    task = asyncio.create_task(flood())
    last = -1
    while last != sent:
        last = sent
        await asyncio.sleep(0.2)
    task.cancel()
    assert sent < 64
    assert resident() - before < 20 * MIB


async def test_pipelined_requests_are_not_read_without_end(world: World) -> None:
    async def stall(talk: Talk) -> None:
        await talk.rest()

    await world.serve(await world.backend(stall))
    talk = await world.client(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while True:
            talk.writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 4096)
            await talk.writer.drain()
            sent += 1

    task = asyncio.create_task(flood())
    last = -1
    while last != sent:
        last = sent
        await asyncio.sleep(0.2)
    task.cancel()
    assert sent < 500
    server: Server = world.servers[0]
    assert server.connections == 1
