"""Workers of the supervisor, when something goes wrong around them."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time

import pytest

from cli.run import workers
from cli.run.workers import Worker
from lb4.address import Bind, parse_ip
from lb4.model import Listener, Mode, Protocol, Service
from lb4.terminate.model import TerminateListener, TerminatePart

pytestmark = pytest.mark.root


def starts(worker, monkeypatch):
    seen = []
    start = Worker.start

    def counted(self):
        seen.append(time.monotonic())
        start(self)

    monkeypatch.setattr(Worker, "start", counted)
    return seen


async def test_a_start_that_fails_is_tried_again(monkeypatch):
    """fork says EAGAIN or ENOMEM once: the worker is started a little later."""
    popen, failures = subprocess.Popen, [BlockingIOError(11, "Resource temporarily unavailable")]

    def refusing(*words, **more):
        if failures:
            raise failures.pop()
        return popen(*words, **more)

    monkeypatch.setattr(workers.subprocess, "Popen", refusing)
    worker = Worker("health", "cli.run.health_worker", 0, "nobody", ())
    task = asyncio.create_task(worker.watch(lambda *_: None))
    await asyncio.sleep(3)
    alive = not task.done() and worker.ready.is_set()
    worker.drain(0)
    await asyncio.wait([task], timeout=3)
    assert alive, task


async def test_a_worker_that_is_drained_while_it_waits_is_not_started_again(monkeypatch):
    """It died, and is to be started after a pause; in the pause its kind ends."""
    monkeypatch.setattr(workers, "BACKOFF", (0.5,) * 7)
    worker = Worker("health", "cli.run.health_worker", 0, "nobody", ())
    seen = starts(worker, monkeypatch)
    task = asyncio.create_task(worker.watch(lambda *_: None))
    await asyncio.wait_for(worker.ready.wait(), 10)
    worker.process.kill()
    await asyncio.sleep(0.25)
    assert worker.channel is None
    worker.drain(0)
    await asyncio.sleep(2)
    try:
        assert len(seen) == 1
        assert task.done()
    finally:
        worker.kill()
        await asyncio.wait([task], timeout=3)


async def test_what_a_report_leads_to_does_not_end_the_watch(monkeypatch):
    """A defect in what is made of a report: the worker is watched on."""

    def heard(worker, report):
        if report.get("ready"):
            raise ValueError("a defect")

    worker = Worker("health", "cli.run.health_worker", 0, "nobody", ())
    task = asyncio.create_task(worker.watch(heard))
    await asyncio.wait_for(worker.ready.wait(), 10)
    await asyncio.sleep(0.5)
    over = task.done()
    worker.kill()
    await asyncio.wait([task], timeout=3)
    assert not over


async def test_a_listener_of_many_ports_is_handed_over_whole():
    """A worker that is started gets all sockets of a listener, also more than one message may carry."""
    sockets = {}
    for port in range(20000, 20300):
        sock = socket.create_server(("127.0.0.1", port), reuse_port=True)
        sockets[Bind(parse_ip("127.0.0.1"), port, port)] = sock
    listener = Listener("l", (Bind(parse_ip("127.0.0.1"), 20000, 20299),), Protocol.TCP, Mode.TERMINATE, "s")
    part = TerminatePart((TerminateListener(listener),), {"s": Service("s", ())})
    worker = Worker("terminate", "cli.run.terminate_worker", 0, "nobody", part)
    for bind, sock in sockets.items():
        worker.adopt("l", {bind: sock})
    task = asyncio.create_task(worker.watch(lambda *_: None))
    await asyncio.wait_for(worker.ready.wait(), 10)
    await asyncio.sleep(1)

    async def ask(port):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            got = await asyncio.wait_for(reader.read(1), 1)
            writer.close()
            return got
        except TimeoutError:
            return "hangs"
        except ConnectionError:
            return "reset"

    answers = [await ask(port) for port in (20000, 20150, 20299)]
    worker.kill()
    await asyncio.wait([task], timeout=3)
    for sock in sockets.values():
        sock.close()
    assert answers == ["reset"] * 3
