"""Each deadline counts from where it should, for nobody but its own exchange."""

from __future__ import annotations

import asyncio
import time

from lb7.model import HttpLimits, Timeouts
from tests.proxy.edges import (
    GET,
    POST,
    PUT,
    stall,
)
from tests.proxy.world import OK, Talk, World, status_of


async def test_first_byte_counts_from_when_the_request_was_sent(world: World) -> None:
    async def script(talk: Talk) -> None:
        while True:
            await talk.head()
            await asyncio.sleep(0.6)
            await talk.send(OK)

    service = {"max_connections": 1, "max_queued": 9}
    await world.serve(await world.backend(script), service=service, timeouts=Timeouts(first_byte=1.0))
    talks = [await world.client(GET) for _ in range(3)]
    assert [status_of(await talk.response()) for talk in talks] == [200] * 3


async def test_first_byte_is_over_once_the_response_began(world: World) -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await talk.exactly(3)
        await asyncio.sleep(0.6)
        await talk.send(b"cd")

    await world.serve(await world.backend(script), timeouts=Timeouts(first_byte=0.2, idle=5.0))
    talk = await world.client(POST[:-1])
    assert status_of(await talk.head()) == 200
    await talk.send(b"c")
    assert await talk.exactly(4) == b"abcd"


async def test_a_retried_request_delays_nobodys_timeout(world: World) -> None:
    async def closes(talk: Talk) -> None:
        await talk.head()
        await asyncio.sleep(0.8)
        talk.close()

    first, second = await world.backend(closes), await world.backend(stall)
    await world.serve(first, second, timeouts=Timeouts(first_byte=1.0))
    while not first.connections:
        one = await world.client(GET)
        await asyncio.sleep(0.03)
        if not first.connections:
            one.close()
    started = time.monotonic()
    assert status_of(await world.ask(GET)) == 504
    assert time.monotonic() - started < 1.4


async def test_idle_does_not_go_on_after_a_retry(world: World) -> None:
    gate = asyncio.Event()

    async def closes(talk: Talk) -> None:
        await talk.head()
        await gate.wait()
        talk.writer.transport.abort()

    async def slow(talk: Talk) -> None:
        await talk.head()
        await talk.exactly(3)
        await asyncio.sleep(0.8)
        await talk.send(OK)

    first, second = await world.backend(closes), await world.backend(slow)
    await world.serve(first, second, timeouts=Timeouts(first_byte=5, idle=0.4))
    while not first.connections:
        client = await world.client(PUT + b"ab")
        await asyncio.sleep(0.03)
        if not first.connections:
            client.close()
    (exchange,) = [c.exchange for c in world.proxy.listeners["web"].connections if c.exchange is not None]
    gate.set()
    while exchange._task is None:
        await asyncio.sleep(0)
    client.writer.write(b"c")  # while the second backend is connected to
    assert status_of(await client.response()) == 200


async def test_a_part_of_a_head_after_an_answer_has_the_heads_time(world: World) -> None:
    await world.serve(await world.backend(), limits=HttpLimits(head_timeout=0.3, idle_timeout=5))
    talk = await world.client(GET + GET[:10])
    assert status_of(await talk.response()) == 200
    async with asyncio.timeout(2):
        assert status_of(await talk.response()) == 408
