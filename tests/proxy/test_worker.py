"""The worker as a process: told over its channel what to serve, without root's rights, gone with its supervisor."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lb4.address import Bind, parse_ip
from lb4.worker.channel import ParentEnd
from lb4.worker.messages import Adopt, AskStatistics, Configure, Drain, Release
from lb7.auth.model import BasicAuth
from tests.proxy.world import LOCALHOST, Talk, World, body_of, named, status_of

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def status_file(pid: int) -> dict[str, str]:
    """proc(5)'s status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if "\t" in line)


class Worker:
    """One worker process and the supervisor's end of its channel."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        arguments = [sys.executable, "-m", "lb7.worker", str(theirs.fileno()), "nobody", "0"]
        self.process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()], stdout=subprocess.DEVNULL)
        theirs.close()
        self.channel = ParentEnd(ours)
        self.reports = self.channel.reports()
        self.sock = socket.create_server((LOCALHOST, 0))
        self.bind = Bind(parse_ip(LOCALHOST), self.sock.getsockname()[1], self.sock.getsockname()[1])

    def adopt(self) -> None:
        self.channel.send(Adopt("web", (self.bind,)), (self.sock.fileno(),))

    async def report(self) -> dict[str, object]:
        async with asyncio.timeout(20):
            return dict(await anext(self.reports))

    async def ask(self) -> bytes:
        talk = Talk(*await asyncio.open_connection(LOCALHOST, self.bind.first))
        await talk.send(GET)
        response = await talk.response()
        talk.close()
        return response

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait, 20)


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker()
    yield worker
    worker.channel.sock.close()
    await worker.reports.aclose()
    worker.sock.close()
    worker.process.kill()
    worker.process.wait()


async def test_a_worker_from_its_first_word_to_its_last(world: World, worker: Worker) -> None:
    world.log = "off"
    worker.channel.send(Configure(world.part([await world.backend(named("one"))])))
    assert await worker.report() == {"ready": True}
    worker.adopt()
    assert body_of(await worker.ask()) == b"one"
    worker.channel.send(Configure(world.part([await world.backend(named("two"))])))
    assert await worker.report() == {"ready": True}
    assert body_of(await worker.ask()) == b"two"
    worker.channel.send(AskStatistics())
    statistics = (await worker.report())["statistics"]
    assert statistics["http"]["listeners"]["web"]["requests"] == 2  # type: ignore[index]
    worker.channel.send(Release("web", (worker.bind,)))
    worker.channel.send(Drain(5.0))
    assert await worker.ended() == 0


async def test_what_cannot_be_served_changes_nothing(world: World, worker: Worker) -> None:
    world.log = "off"
    worker.channel.send(Configure(world.part([await world.backend(named("one"))])))
    await worker.report()
    worker.adopt()
    broken = world.part([], route={"auth": (BasicAuth("users"),)}, files={"users": b"no colon"})
    worker.channel.send(Configure(broken))
    assert "users" in str((await worker.report())["failed"])
    assert body_of(await worker.ask()) == b"one"


async def test_a_worker_ends_with_its_supervisor(world: World, worker: Worker) -> None:
    world.log = "off"
    worker.channel.send(Configure(world.part([await world.backend()])))
    await worker.report()
    worker.channel.sock.shutdown(socket.SHUT_RDWR)
    assert await worker.ended() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
async def test_a_worker_keeps_none_of_roots_rights(world: World, worker: Worker) -> None:
    world.log = "off"
    worker.channel.send(Configure(world.part([await world.backend()])))
    await worker.report()
    status = status_file(worker.process.pid)
    nobody = str(pwd.getpwnam("nobody").pw_uid)
    assert status["Uid"].split() == [nobody] * 4
    assert status["NoNewPrivs"] == "1"
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapAmb", "CapInh")} == {0}
    assert status["Groups"].strip() == ""


async def test_the_access_log_of_a_slow_pipe_holds_up_no_request(world: World) -> None:
    reading, writing = os.pipe()
    try:
        world.log = f"/proc/self/fd/{writing}"
        await world.serve(await world.backend())
        talk = await world.client()
        for _ in range(500):
            await talk.send(GET)
            assert status_of(await talk.response()) == 200
        log = next(iter(world.proxy._planner.logs.values()))
        log.flush()
        held = os.read(reading, 1 << 20)
        assert held.endswith(b"}\n")
        assert held.count(b"\n") < 500
    finally:
        os.close(reading)
        os.close(writing)
