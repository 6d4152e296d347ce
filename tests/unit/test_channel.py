import asyncio
import os
import socket

import pytest

from lb4.worker.channel import ParentEnd, WorkerEnd


async def _first(channel: WorkerEnd) -> tuple[object, tuple[int, ...]]:
    async for message in channel.messages():
        return message
    raise AssertionError("the channel ended")


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield ParentEnd(ours), WorkerEnd(theirs)
    ours.close()
    theirs.close()


async def test_values_and_descriptors_arrive_together(ends):
    parent, worker = ends
    read, write = os.pipe()
    parent.send(("listen", 1), (write,))
    message, (received,) = await _first(worker)
    os.write(received, b"through")
    assert message == ("listen", 1)
    assert os.read(read, 7) == b"through"
    for fd in (read, write, received):
        os.close(fd)


async def test_a_value_larger_than_the_socket_buffer(ends):
    parent, worker = ends
    sending = asyncio.create_task(asyncio.to_thread(parent.send, b"x" * 3_000_000))
    message, fds = await _first(worker)
    await sending
    assert (len(message), fds) == (3_000_000, ())


async def test_the_worker_speaks_json_and_garbage_is_left_out(ends):
    parent, worker = ends
    worker.sock.sendall(b"\x80\x04not json\n[1]\n" + b"[" * 50_000 + b"\n")
    await worker.report({"ready": True})
    worker.sock.shutdown(socket.SHUT_WR)
    assert [report async for report in parent.reports()] == [{"ready": True}]


async def test_the_end_of_the_supervisor_ends_the_messages(ends):
    parent, worker = ends
    parent.send(1)
    parent.sock.close()
    assert [message async for message, _ in worker.messages()] == [1]


async def test_a_worker_that_dies_with_words_unread(ends):
    parent, worker = ends
    parent.send("never read")
    worker.sock.close()
    assert [report async for report in parent.reports()] == []


async def test_a_worker_that_reads_no_more(ends):
    parent, _ = ends
    parent.sock.setblocking(False)
    with pytest.raises(TimeoutError, match="does not read"):
        await asyncio.to_thread(parent.send, b"x" * 10_000_000)


async def test_a_thousand_report_at_once(ends):
    """More than the socket holds; one of them is cancelled in the middle, and no line is torn."""
    parent, worker = ends
    saying = [asyncio.create_task(worker.report({"number": n, "more": "x" * 1000})) for n in range(1000)]
    await asyncio.sleep(0.01)
    for task in saying[::7]:
        task.cancel()
    listening = asyncio.create_task(numbers(parent))
    await asyncio.gather(*saying, return_exceptions=True)
    await worker.report({"number": -1})
    assert await listening == [*range(1000), -1]


async def numbers(parent: ParentEnd) -> list[object]:
    seen = []
    async for report in parent.reports():
        seen.append(report["number"])
        if seen[-1] == -1:
            break
    return seen
