"""Tunnels whose ends come early, late, or from one side alone; TLS cannot half-close."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lb4.model import BackendTls
from lb4.worker.messages import AskStatistics, Configure
from lb7.model import KeptConnections, Timeouts
from tests.proxy.edges import (
    MIB,
    SWITCHED,
    UPGRADE,
    errors_of_the_loop,
    secure_backend,
)
from tests.proxy.test_tls import FILES, dial, tls, trusting
from tests.proxy.test_worker import Worker, worker  # noqa: F401
from tests.proxy.world import Talk, World


async def test_a_tls_client_hears_that_its_tunnel_ended(world: World) -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.send(SWITCHED + b"bye")

    await world.serve(await world.backend(script), tls=tls(), files=FILES)
    talk = await dial(world, trusting())
    await talk.send(UPGRADE)
    await talk.head()
    async with asyncio.timeout(3):
        assert await talk.reader.read() == b"bye"


async def test_a_tls_backend_hears_that_its_tunnel_ended(world: World, tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.send(SWITCHED)
        await talk.rest()
        ended.set()

    server = await secure_backend(world, script, tmp_path)
    await world.serve(server, service={"tls": BackendTls(ca="ca")}, files=FILES)
    talk = await world.client(UPGRADE)
    await talk.head()
    talk.close()
    async with asyncio.timeout(3):
        await ended.wait()


async def test_a_tls_backend_that_ends_a_tunnel_leaves_nothing(world: World, tmp_path: Path) -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.send(SWITCHED + b"bye")

    errors = errors_of_the_loop()
    server = await secure_backend(world, script, tmp_path)
    await world.serve(server, service={"tls": BackendTls(ca="ca")}, files=FILES, timeouts=Timeouts(idle=0.3))
    talk = await world.client(UPGRADE)
    await talk.head()
    assert await talk.rest() == b"bye"
    world.proxy.statistics()
    await asyncio.sleep(1.5)
    assert errors == []
    assert not world.proxy.listeners["web"].connections


async def test_a_worker_survives_statistics_of_a_tunnel_whose_tls_backend_left(
    world: World,
    worker: Worker,  # noqa: F811
    tmp_path: Path,
) -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.send(SWITCHED + b"bye")

    server = await secure_backend(world, script, tmp_path)
    world.log = "off"
    worker.channel.send(Configure(world.part([server], service={"tls": BackendTls(ca="ca")}, files=FILES)))
    assert await worker.report() == {"ready": True}
    worker.adopt()
    world.port = worker.bind.first
    talk = await world.client(UPGRADE)
    await talk.head()
    assert await talk.rest() == b"bye"
    worker.channel.send(AskStatistics())
    await asyncio.sleep(1)
    assert worker.process.poll() is None


async def test_a_tunnel_to_a_stuck_backend_ends(world: World) -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.send(SWITCHED)
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(30)

    server = await world.backend(script)
    kept = KeptConnections(idle_timeout=0.5)
    await world.serve(server, timeouts=Timeouts(idle=0.5), http_service={"kept": kept})
    talk = await world.client(UPGRADE)
    await talk.head()
    task = asyncio.create_task(talk.send(b"x" * (20 * MIB)))
    await asyncio.sleep(0.4)
    task.cancel()
    talk.reset()
    await asyncio.sleep(2.5)
    assert world.proxy.services["ping"].backends[str(server.endpoint)].connections.active == 0


async def test_a_tunnel_after_much_data_ahead(world: World) -> None:
    total = 400_000

    async def script(talk: Talk) -> None:
        await talk.head()
        await asyncio.sleep(0.3)
        await talk.send(SWITCHED)
        await talk.exactly(total)
        await talk.send(b"all")

    await world.serve(await world.backend(script))
    talk = await world.client(UPGRADE)
    task = asyncio.create_task(talk.send(b"x" * total))
    await talk.head()
    async with asyncio.timeout(3):
        assert await talk.reader.readexactly(3) == b"all"
    await task


@pytest.mark.parametrize("ahead", [b"", b"data"])
async def test_a_half_close_before_the_tunnel(world: World, ahead: bytes) -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await asyncio.sleep(0.2)
        await talk.send(SWITCHED)
        await talk.send(await talk.rest() + b"bye")

    await world.serve(await world.backend(script))
    talk = await world.client(UPGRADE + ahead)
    talk.writer.write_eof()
    async with asyncio.timeout(3):
        assert (await talk.rest()).endswith(ahead + b"bye")
