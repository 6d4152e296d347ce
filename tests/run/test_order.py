"""One thing after the other: operations and what follows from them, findings and the end of a check."""

from __future__ import annotations

import asyncio
import fcntl
import resource
import socket
import threading
import time
from collections import Counter

from cli.control import server as control
from cli.operations.context import Context
from cli.run.health import Findings
from lb4.address import parse_endpoint
from lb4.model import Backend, Service
from lb4.worker.channel import ParentEnd

B = parse_endpoint("10.0.0.1:80")


async def test_a_finding_of_what_is_no_longer_checked_is_left_out():
    """The health worker's last word crosses with the configuration that takes the check away."""
    told = []
    findings = Findings(asyncio.get_running_loop(), lambda _: 0.0, lambda known, steps: told.append(known), Counter())
    findings.keep_only({"s": Service("s", (Backend(B),))})
    findings.found([["s", str(B), "down", "refused"]])
    await asyncio.sleep(0.05)
    assert not told, told


async def test_what_follows_an_operation_is_done_before_the_next_begins(monkeypatch, tmp_path):
    """The loop is busy for a moment when the first of two ends."""
    said = []

    def operation(context, name, arguments):
        said.append(f"{name} begins")
        time.sleep(0.05)
        return {}

    class Owner:
        def done(self, name, arguments, document):
            said.append(f"{name} done")

        def refused(self, name): ...
        def metrics(self):
            return ""

    monkeypatch.setattr(control, "perform_here", operation)
    server = control.ControlServer(Context(tmp_path, None, None, None), Owner())
    both = [asyncio.create_task(server.perform(name, {})) for name in ("first", "second")]
    await asyncio.sleep(0.01)
    time.sleep(0.2)  # noqa: ASYNC251 this is what is tested
    await asyncio.gather(*both)
    server._one_at_a_time.shutdown()
    assert said == ["first begins", "first done", "second begins", "second done"]


async def test_an_operation_whose_client_is_cancelled_is_carried_through(monkeypatch, tmp_path):
    said = []
    monkeypatch.setattr(control, "perform_here", lambda *_: time.sleep(0.1))

    class Owner:
        def done(self, name, arguments, document):
            said.append(name)

        def refused(self, name): ...
        def metrics(self):
            return ""

    server = control.ControlServer(Context(tmp_path, None, None, None), Owner())
    task = asyncio.create_task(server.perform("apply", {}))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.sleep(0.3)
    server._one_at_a_time.shutdown()
    assert said == ["apply"]


def test_a_channel_with_a_high_number():
    """A supervisor with more than a thousand sockets; the worker is slow to read."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    a, b = socket.socketpair()
    high = socket.socket(fileno=fcntl.fcntl(a.fileno(), fcntl.F_DUPFD, 1500))
    a.close()
    high.setblocking(False)

    def reader():
        time.sleep(0.3)
        while b.recv(1 << 20):
            pass

    reading = threading.Thread(target=reader)
    reading.start()
    ParentEnd(high).send(b"x" * 3_000_000)
    high.close()
    reading.join()
    b.close()
