"""Worker processes: started, told what to serve, replaced when they die.

The rule: the supervisor can start a worker anew at any time with all it needs to know; a worker that keeps dying is
started at ever longer intervals, never in a tight loop.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cli.run.log import event, remembered
from lb4.address import Bind
from lb4.worker.channel import FDS_MAX, ParentEnd
from lb4.worker.messages import Adopt, Configure, Drain, Message, Release

QUICK_DEATH = 5.0
"""A worker that lived shorter than these seconds counts as one that cannot live."""
BACKOFF = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

Heard = Callable[["Worker", Mapping[str, object]], None]


@dataclass
class Worker:
    """One worker process of a kind, and all that it must be told when it is started anew.

    counts: a descriptor of the memory in which the `of` workers of the kind count together, -1 for kinds that do not.
    rights: the capabilities it keeps when it gives up root's, by their numbers.
    """

    kind: str
    module: str
    index: int
    user: str
    part: object
    counts: int = -1
    of: int = 1
    rights: tuple[int, ...] = ()
    sockets: dict[str, dict[Bind, socket.socket]] = field(default_factory=dict)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    process: subprocess.Popen[bytes] | None = None
    channel: ParentEnd | None = None
    deaths: int = 0
    ended: int = 0
    stopping: bool = False
    watched: bool = False

    @property
    def name(self) -> str:
        """How logs and status call it."""
        return f"{self.kind}-{self.index}"

    def start(self) -> None:
        """Starts the process and tells it everything."""
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        arguments = [sys.executable, "-m", self.module, str(theirs.fileno()), self.user, str(self.index)]
        arguments += [str(self.counts), str(self.of), ",".join(map(str, self.rights))]
        passed = [theirs.fileno()] if self.counts < 0 else [theirs.fileno(), self.counts]
        with theirs:
            try:
                self.process = subprocess.Popen(
                    arguments, pass_fds=passed, stdin=subprocess.DEVNULL, start_new_session=True
                )
            except BaseException:
                ours.close()
                raise
        self.channel = ParentEnd(ours)
        self.ready.clear()
        self._tell(Configure(self.part))
        for listener, sockets in self.sockets.items():
            self._hand_over(listener, sockets)

    def configure(self, part: object) -> None:
        """Replaces what it serves, now and for every later start."""
        self.part = part
        self._tell(Configure(part))

    def tell(self, message: Message) -> None:
        """One message that a later start does not need to hear again."""
        self._tell(message)

    def adopt(self, listener: str, sockets: Mapping[Bind, socket.socket]) -> None:
        """Gives it more sockets of a listener, now and at every later start."""
        self.sockets.setdefault(listener, {}).update(sockets)
        self._hand_over(listener, sockets)

    def _hand_over(self, listener: str, sockets: Mapping[Bind, socket.socket]) -> None:
        binds = tuple(sockets)
        for some in (binds[at : at + FDS_MAX] for at in range(0, len(binds), FDS_MAX)):
            self._tell(Adopt(listener, some), tuple(sockets[bind] for bind in some))

    def release(self, listener: str, binds: tuple[Bind, ...]) -> None:
        """Takes sockets of a listener from it; the supervisor's own copies are closed too."""
        self._tell(Release(listener, binds))
        for bind in binds:
            self.sockets[listener].pop(bind).close()
        if not self.sockets[listener]:
            del self.sockets[listener]

    def drain(self, seconds: float) -> None:
        """Asks it to end within that many seconds."""
        self.stopping = True
        self._tell(Drain(seconds))

    def _tell(self, message: Message, sockets: tuple[socket.socket, ...] = ()) -> None:
        if self.channel is None:
            return
        # A worker that died, or is ended here, is started anew and then told everything.
        try:
            self.channel.send(message, tuple(sock.fileno() for sock in sockets))
        except TimeoutError as error:
            event(logging.ERROR, "a worker hangs and is ended", worker=self.name, why=error)
            if self.process is not None:
                self.process.kill()
        except OSError:
            return

    async def watch(self, heard: Heard) -> None:
        """Listens to it, and starts it anew whenever it ends, until it is told to drain."""
        while not self.stopping:
            born = time.monotonic()
            try:
                self.start()
            except OSError as error:
                code: object = error.strerror
            else:
                await self._listen(heard)
                code = await self._ended()
            if self.stopping:
                return
            self.ended += 1
            self.deaths = self.deaths + 1 if time.monotonic() - born < QUICK_DEATH else 0
            pause = BACKOFF[min(self.deaths, len(BACKOFF) - 1)]
            words = "a worker ended and is replaced"
            remembered(logging.ERROR, "worker", words, worker=self.name, exit=code, after=f"{pause:g}s")
            await asyncio.sleep(pause)

    async def _listen(self, heard: Heard) -> None:
        assert self.channel is not None
        async for report in self.channel.reports():
            if report.get("ready"):
                self.ready.set()
            try:
                heard(self, report)
            except Exception as error:  # noqa: BLE001 it is watched on: nobody else would replace it
                event(logging.ERROR, "a report could not be made use of", worker=self.name, why=repr(error))

    async def _ended(self) -> int:
        assert self.process is not None
        assert self.channel is not None
        self.channel.sock.close()
        self.channel = None
        return await asyncio.to_thread(self.process.wait)

    def kill(self) -> None:
        """Ends it at once."""
        self.stopping = True
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
