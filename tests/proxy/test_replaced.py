"""New configurations and the end: what was before is let go, and what waits goes on."""

from __future__ import annotations

import asyncio
import time
from ipaddress import ip_network
from pathlib import Path

from lb7.model import HttpBalancer
from lb7.part import HttpPart
from tests.proxy.edges import (
    GET,
    HOLD,
    descriptors,
    stall,
)
from tests.proxy.world import OK, Talk, World, answering, eventually, status_of


async def test_drain_while_a_response_is_on_its_way(world: World) -> None:
    gate = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await gate.wait()
        await talk.send(b"cd")
        await talk.rest()

    await world.serve(await world.backend(script))
    talk = await world.client(GET)
    await talk.head()
    started = time.monotonic()
    draining = asyncio.create_task(world.proxy.drain(3))
    await asyncio.sleep(0.1)
    gate.set()
    assert await talk.rest() == b"abcd"
    await draining
    assert time.monotonic() - started < 2


async def test_the_log_has_what_a_drain_cut(world: World) -> None:
    server = await world.backend(stall)
    await world.serve(server)
    await world.client(GET)
    await eventually(lambda: server.connections == 1)
    await world.proxy.drain(0.1)
    assert len(world.logged()) == 1


async def test_trust_follows_the_configuration(world: World) -> None:
    heads: list[bytes] = []
    server = await world.backend(answering(OK, heads=heads))
    talk = None
    for trusted in ((ip_network("127.0.0.0/8"),), ()):
        await world.serve(server, trusted_proxies=trusted)
        talk = talk or await world.client()
        await talk.send(b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n")
        await talk.response()
    assert [b"9.9.9.9" in head for head in heads] == [True, False]


async def test_retired_listeners_are_forgotten(world: World) -> None:
    server = await world.backend()
    for _ in range(3):
        await world.proxy.configure(world.part([server]))
        await world.proxy.configure(HttpPart(HttpBalancer({}, {}), {}))
    await asyncio.sleep(0.05)
    assert len(world.proxy._gone) == 0


async def test_logs_of_old_configurations_are_closed(world: World, tmp_path: Path) -> None:
    server = await world.backend()
    await world.serve(server)
    before = descriptors()
    for number in range(5):
        world.log = str(tmp_path / f"log{number}")
        await world.serve(server)
    assert descriptors() == before


async def test_a_raised_limit_lets_who_waits_go(world: World) -> None:
    async def script(talk: Talk) -> None:
        if b"/hold" in await talk.head():
            await talk.rest()
        await talk.send(OK)

    server = await world.backend(script)
    await world.serve(server, service={"max_connections": 1, "max_queued": 9})
    await world.client(HOLD)
    await eventually(lambda: server.connections == 1)
    waiting = await world.client(GET)
    await eventually(lambda: len(world.proxy.services["ping"].waiting) == 1)
    await world.serve(server, service={"max_connections": 10, "max_queued": 9})
    async with asyncio.timeout(2):
        assert status_of(await waiting.response()) == 200
