"""What the workers with a packet queue have in common: one service, led by the supervisor's messages.

The rule: it decides nothing about packets. A queue that somebody else has is waited for, since a worker of a supervisor
that died may hold it for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from cli.run.log import event
from lb4.conntrack.table import ConntrackError
from lb4.model import Service
from lb4.packet.host import HostUnfit
from lb4.packet.packet_queue import QueueError
from lb4.worker.channel import WorkerEnd
from lb4.worker.messages import AskStatistics, Configure, Drain, ServicesChanged

PATIENCE = 5.0
"""Seconds for which the queue's last owner is waited for."""
WARNING = 30

Part = TypeVar("Part")
Part_contra = TypeVar("Part_contra", contravariant=True)


class QueueService(Protocol[Part_contra]):
    """What is served between two messages."""

    def reconfigure(self, part: Part_contra) -> object:
        """Goes on with another configuration."""
        ...

    def change_services(self, services: Mapping[str, Service]) -> None:
        """Some services have new weights, health or admin states."""
        ...

    def fileno(self) -> int:
        """Readable when packets wait."""
        ...

    def process(self) -> None:
        """Gives verdicts on packets that wait."""
        ...

    def tick(self) -> None:
        """Does what time asks for."""
        ...

    def statistics(self) -> dict[str, object]:
        """What the supervisor wants to know."""
        ...

    def stop(self) -> None:
        """Lets go of the queue."""
        ...


class QueueWorker(Generic[Part]):
    """Serves one queue until the supervisor says Drain, or is gone."""

    def __init__(
        self,
        channel: WorkerEnd,
        kind: type[Part],
        start: Callable[[Part], QueueService[Part]],
        tick: float,
    ) -> None:
        """kind: of the part that is for this worker. start: raises QueueError while somebody else has the queue.

        tick: seconds between two ticks of the service.
        """
        self._channel, self._kind, self._start, self._every = channel, kind, start, tick
        self._service: QueueService[Part] | None = None

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
            case Configure(part=part) if isinstance(part, self._kind):
                await self._configure(part)
            case ServicesChanged(services=services) if self._service is not None:
                self._service.change_services(services)
            case AskStatistics():
                statistics = self._service.statistics() if self._service is not None else {}
                await self._channel.report({"statistics": statistics})

    async def _configure(self, part: Part) -> None:
        try:
            if self._service is not None:
                self._service.reconfigure(part)
            else:
                self._service = await self._started(part)
        except (HostUnfit, QueueError, ConntrackError, OSError) as error:
            await self._channel.report({"failed": str(error)})
            return
        await self._channel.report({"ready": True})

    async def _started(self, part: Part) -> QueueService[Part]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while loop.time() < deadline:
            with contextlib.suppress(QueueError):
                return self._watched(self._start(part))
            await asyncio.sleep(self._every)
        return self._watched(self._start(part))

    def _watched(self, service: QueueService[Part]) -> QueueService[Part]:
        asyncio.get_running_loop().add_reader(service.fileno(), service.process)
        return service

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            if self._service is not None:
                self._service.tick()


def warn(text: str) -> None:
    """What a person should know."""
    event(WARNING, text)
