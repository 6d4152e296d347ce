"""The metrics worker: answers GET /metrics on an address of choice.

The rule: it reads what strangers send, so it has no rights; the text it serves is the supervisor's, asked for anew for
each scrape by the report `{"scrape": number}` and given by a Scraped message.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from itertools import count

from aiohttp import web

from lb4.worker.channel import WorkerEnd
from lb4.worker.messages import Adopt, Configure, Drain, Release, Scraped
from lb4.worker.privileges import drop

PATIENCE = 10.0
"""Seconds that the supervisor has for making the text."""


class MetricsWorker:
    """Serves the sockets it adopted."""

    def __init__(self, channel: WorkerEnd) -> None:
        """Asks the supervisor over the channel."""
        self._channel = channel
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._sites: dict[object, web.SockSite] = {}

    async def run(self) -> None:
        """Until the supervisor says Drain, or is gone."""
        application = web.Application()
        application.router.add_get("/metrics", self._scrape)
        runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await runner.setup()
        async for message, fds in self._channel.messages():
            match message:
                case Configure():
                    await self._channel.report({"ready": True})
                case Adopt(binds=binds):
                    for bind, fd in zip(binds, fds, strict=True):
                        self._sites[bind] = web.SockSite(runner, socket.socket(fileno=fd))
                        await self._sites[bind].start()
                case Release(binds=binds):
                    for bind in binds:
                        await self._sites.pop(bind).stop()
                case Scraped(scrape, text) if scrape in self._waiting:
                    self._answer(scrape, text)
                case Drain():
                    break
        await runner.cleanup()

    def _answer(self, scrape: int, text: str) -> None:
        waiting = self._waiting.pop(scrape)
        # Whoever asked may have given up in this very turn.
        if not waiting.done():
            waiting.set_result(text)

    async def _scrape(self, request: web.Request) -> web.Response:
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._channel.report({"scrape": number})
        try:
            text = await asyncio.wait_for(self._waiting[number], PATIENCE)
        except TimeoutError:
            self._waiting.pop(number, None)
            raise web.HTTPServiceUnavailable(text="the supervisor did not answer in time\n") from None
        return web.Response(text=text, content_type="text/plain", charset="utf-8")


def main() -> None:
    """`python -m cli.run.metrics_worker FD USER`: FD is the channel."""
    channel = WorkerEnd(socket.socket(fileno=int(sys.argv[1])))
    drop(sys.argv[2])
    asyncio.run(MetricsWorker(channel).run())


if __name__ == "__main__":
    main()
