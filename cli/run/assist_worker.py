"""The worker for first packets: it picks backends where the kernel cannot, and follows conntrack's events.

The rule: it keeps no right but CAP_NET_ADMIN. While it is dead or away the kernel picks by itself.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvloop

from cli.run.log import event, to_standard_error
from lb4.conntrack.table import ConntrackError
from lb4.packet.assist_service import AssistService
from lb4.packet.packet_queue import QueueError
from lb4.packet.part import AssistPart
from lb4.worker.channel import WorkerEnd
from lb4.worker.messages import AskStatistics, Configure, Drain, ServicesChanged
from lb4.worker.privileges import CAP_NET_ADMIN, drop

TICK = 0.25
PREDECESSOR_TRIES = 20
WARNING = 30


class AssistWorker:
    """Serves queue and events between two messages of the supervisor."""

    def __init__(self, channel: WorkerEnd) -> None:
        self._channel = channel
        self._service: AssistService | None = None

    async def run(self) -> None:
        """Until the supervisor is gone or says Drain."""
        ticking = asyncio.create_task(self._tick())
        async for message, _ in self._channel.messages():
            if isinstance(message, Drain):
                break
            await self._carry_out(message)
        ticking.cancel()
        if self._service is not None:
            self._service.stop()

    async def _carry_out(self, message: object) -> None:
        match message:
            case Configure(part=AssistPart() as part):
                await self._configure(part)
            case ServicesChanged(services=services) if self._service is not None:
                self._service.change_services(services)
            case AskStatistics():
                statistics = self._service.statistics() if self._service is not None else {}
                await self._channel.report({"statistics": statistics})

    async def _configure(self, part: AssistPart) -> None:
        try:
            if self._service is not None:
                self._service.reconfigure(part)
            else:
                self._service = await self._started(part)
        except (QueueError, ConntrackError) as error:
            await self._channel.report({"failed": str(error)})
            return
        await self._channel.report({"ready": True})

    async def _started(self, part: AssistPart) -> AssistService:
        """A worker of a supervisor that died may hold the queue for a moment: it is waited for."""
        for left in reversed(range(PREDECESSOR_TRIES)):
            try:
                service = AssistService(part, _log)
                break
            except QueueError:
                if not left:
                    raise
                await asyncio.sleep(TICK)
        asyncio.get_running_loop().add_reader(service.fileno(), service.process)
        return service

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            if self._service is not None:
                self._service.tick()


def _log(text: str) -> None:
    event(WARNING, text)


def main() -> None:
    """`python -m cli.run.assist_worker FD USER INDEX`: FD is the channel."""
    to_standard_error()
    channel = WorkerEnd(socket.socket(fileno=int(sys.argv[1])))
    drop(sys.argv[2], keep=(CAP_NET_ADMIN,))
    uvloop.run(AssistWorker(channel).run())


if __name__ == "__main__":
    main()
