"""The channel: a Unix stream socket between the supervisor and one worker.

The rule: the supervisor sends pickled values (with file descriptors, by SCM_RIGHTS), the worker answers with JSON
lines alone; so nothing that a worker says is ever unpickled. The end of the stream is the end of the worker's work.
"""

from __future__ import annotations

import array
import asyncio
import json
import pickle
import select
import socket
import struct
from collections.abc import AsyncIterator, Mapping

LENGTH = struct.Struct("!I")
FDS_MAX = 250
"""Linux passes at most SCM_MAX_FD (253) descriptors with one message."""
SEND_PATIENCE = 2.0
"""Seconds that a worker has for taking what is sent."""
LINE_LIMIT = 64 * 1024 * 1024


class ParentEnd:
    """The supervisor's end."""

    def __init__(self, sock: socket.socket) -> None:
        """Takes a connected Unix stream socket in blocking mode."""
        self.sock = sock

    def send(self, message: object, fds: tuple[int, ...] = ()) -> None:
        """Sends one value; at most FDS_MAX descriptors. Raises OSError where nobody is there.

        TimeoutError where the worker has stopped reading: half of the value may have gone, so it must be ended.
        """
        body = pickle.dumps(message)
        frame = LENGTH.pack(len(body)) + LENGTH.pack(len(fds)) + body
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        view = memoryview(frame)
        while view:
            try:
                view = view[self.sock.sendmsg([view], ancillary) :]
                ancillary = []
            except BlockingIOError:
                # The event loop reads the same socket, and has made it non-blocking.
                waiting = select.poll()
                waiting.register(self.sock, select.POLLOUT)
                if not waiting.poll(SEND_PATIENCE * 1000):
                    raise TimeoutError("the worker does not read") from None

    async def reports(self) -> AsyncIterator[Mapping[str, object]]:
        """The worker's JSON objects until it ends; a line that is none is left out."""
        reader, writer = await asyncio.open_unix_connection(sock=self.sock.dup(), limit=LINE_LIMIT)
        try:
            async for line in reader:
                try:
                    report = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(report, dict):
                    yield report
        except (ConnectionResetError, ValueError):
            # It died before it had read all it was told, or says a line without end.
            return
        finally:
            writer.close()


class WorkerEnd:
    """A worker's end."""

    def __init__(self, sock: socket.socket) -> None:
        """Takes a connected Unix stream socket."""
        sock.setblocking(False)
        self.sock = sock
        self._buffer = b""
        self._fds: list[int] = []
        self._speaking = asyncio.Lock()

    async def messages(self) -> AsyncIterator[tuple[object, tuple[int, ...]]]:
        """The supervisor's values, each with its descriptors, until the supervisor is gone."""
        head = LENGTH.size * 2
        while await self._filled(head):
            (length,) = LENGTH.unpack_from(self._buffer)
            (count,) = LENGTH.unpack_from(self._buffer, LENGTH.size)
            if not await self._filled(head + length):
                return
            body, self._buffer = self._buffer[head : head + length], self._buffer[head + length :]
            fds, self._fds = tuple(self._fds[:count]), self._fds[count:]
            yield pickle.loads(body), fds

    async def _filled(self, size: int) -> bool:
        while len(self._buffer) < size:
            try:
                data, fds, _, _ = socket.recv_fds(self.sock, 1 << 20, FDS_MAX)
            except BlockingIOError:
                await _readable(self.sock)
                continue
            except ConnectionError:
                return False
            if not data:
                return False
            self._fds += fds
            self._buffer += data
        return True

    async def report(self, report: Mapping[str, object]) -> None:
        """Says one JSON object to the supervisor; one that is gone is no error. Many may report at once."""
        # Who is cancelled in the middle has said the whole line nevertheless.
        await asyncio.shield(self._say(json.dumps(report).encode() + b"\n"))

    async def _say(self, line: bytes) -> None:
        async with self._speaking:
            try:
                await asyncio.get_running_loop().sock_sendall(self.sock, line)
            except ConnectionError:
                return


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(sock, wake)
    try:
        await ready
    finally:
        loop.remove_reader(sock)
