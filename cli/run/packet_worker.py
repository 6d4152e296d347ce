"""The packet worker: one process with one packet queue; every packet of mode `packet` passes through such a one.

The rule: it keeps no right but CAP_NET_ADMIN, which the queue takes, and gives that up with everything else when the
supervisor is gone. Its flows are left in a file for the worker that comes after it.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import sys

import uvloop

from cli.operations.context import run_directory
from cli.run.log import event, to_standard_error
from lb4.ledger import Shared, shared_with
from lb4.packet.host import HostUnfit
from lb4.packet.packet_queue import QueueError
from lb4.packet.part import PacketPart
from lb4.packet.queue_choice import chosen
from lb4.packet.service import PacketService
from lb4.worker.channel import WorkerEnd
from lb4.worker.messages import AskStatistics, Configure, Drain, ServicesChanged
from lb4.worker.privileges import CAP_NET_ADMIN, drop

TICK = 0.5
PREDECESSOR_TRIES = 10
WARNING = 30


class PacketWorker:
    """Serves the queue between two messages of the supervisor."""

    def __init__(self, channel: WorkerEnd, index: int, directory: int, shared: Shared) -> None:
        self._channel, self._index, self._directory, self._shared = channel, index, directory, shared
        self._service: PacketService | None = None

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
            case Configure(part=PacketPart() as part):
                await self._configure(part)
            case ServicesChanged(services=services) if self._service is not None:
                self._service.change_services(services)
            case AskStatistics():
                statistics = self._service.statistics() if self._service is not None else {}
                await self._channel.report({"statistics": statistics})

    async def _configure(self, part: PacketPart) -> None:
        try:
            if self._service is not None:
                self._service.reconfigure(part)
            else:
                self._service = await self._started(part)
        except (HostUnfit, QueueError, OSError) as error:
            await self._channel.report({"failed": str(error)})
            return
        await self._channel.report({"ready": True})

    async def _started(self, part: PacketPart) -> PacketService:
        """A worker of a supervisor that died may hold queue and flows for a moment: it is waited for."""
        service = PacketService(part, self._index, self._directory, _log, self._shared)
        for left in reversed(range(PREDECESSOR_TRIES)):
            try:
                service.start(chosen(os.environ))
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


def own_directory(user: str) -> int:
    """Where flow files are kept, made and opened while root may go everywhere, for the user who will write them."""
    directory = run_directory(os.environ) / "packet"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        for path in (directory, *directory.iterdir()):
            os.chown(path, entry.pw_uid, entry.pw_gid)
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def main() -> None:
    """`python -m cli.run.packet_worker FD USER INDEX COUNTS WORKERS`: FD is the channel, COUNTS what WORKERS share."""
    to_standard_error()
    channel, user, index = WorkerEnd(socket.socket(fileno=int(sys.argv[1]))), sys.argv[2], int(sys.argv[3])
    directory, shared = own_directory(user), shared_with(index, sys.argv[4:])
    drop(user, keep=(CAP_NET_ADMIN,))
    uvloop.run(PacketWorker(channel, index, directory, shared).run())


if __name__ == "__main__":
    main()
