"""The names worker: looks up the DNS names of backends and reports their addresses.

The rule: it runs without root's rights (it reads bytes from outside). It is ready when every name was looked up once,
or has had SETTLE seconds. Its part of a Configure is a Names.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvloop

from cli.run.names import Names
from lb4.worker.channel import WorkerEnd
from lb4.worker.messages import Configure, Drain
from lb4.worker.privileges import drop
from lb7.names.lookup import Resolver, Watch
from lb7.names.resolution import Known

SETTLE = 3.0
"""Seconds that the first lookups may hold up the start."""


class NamesWorker:
    """Keeps names looked up; a name that stays wanted is not asked for anew."""

    def __init__(self, channel: WorkerEnd) -> None:
        """Reports over the channel."""
        self._channel = channel
        self._watches: dict[tuple[str, tuple[str, ...]], Watch] = {}
        self._news: asyncio.Queue[tuple[str, Known]] = asyncio.Queue()

    async def run(self) -> None:
        """Until the supervisor says Drain, or is gone."""
        telling = asyncio.create_task(self._tell())
        async for message, _ in self._channel.messages():
            if isinstance(message, Drain):
                break
            if isinstance(message, Configure) and isinstance(message.part, Names):
                await self._watch(message.part)
        telling.cancel()
        await self._watch(Names(()))

    async def _watch(self, part: Names) -> None:
        wanted = {(name, part.resolvers) for name in part.names}
        for key in self._watches.keys() - wanted:
            await self._watches.pop(key).close()
        resolver = Resolver(part.resolvers)
        fresh = [key for key in wanted if key not in self._watches]
        for key in fresh:
            self._watches[key] = Watch([key[0]], resolver.look_up, lambda *news: self._news.put_nowait(news))
            self._watches[key].start()
        await asyncio.gather(*(self._watches[key].settled(SETTLE) for key in fresh))
        await self._news.join()
        await self._channel.report({"ready": True})

    async def _tell(self) -> None:
        while True:
            name, known = await self._news.get()
            addresses = [str(ip) for ip in known.addresses]
            await self._channel.report({"addresses": [name, addresses, known.failure]})
            self._news.task_done()


def main() -> None:
    """`python -m cli.run.names_worker FD USER`: FD is the channel."""
    channel = WorkerEnd(socket.socket(fileno=int(sys.argv[1])))
    drop(sys.argv[2])
    uvloop.run(NamesWorker(channel).run())


if __name__ == "__main__":
    main()
