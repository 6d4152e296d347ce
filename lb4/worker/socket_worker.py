"""What the workers with listening sockets have in common: a server, led by the supervisor's messages.

The rule: it decides nothing about connections. Without a supervisor the server ends as it would at Drain, but sooner.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from lb4.address import Bind
from lb4.model import Service
from lb4.worker.channel import WorkerEnd
from lb4.worker.messages import Adopt, AskStatistics, Configure, Drain, Message, Release, ServicesChanged

ORPHAN_DRAIN = 5.0
"""Seconds that connections have left when the supervisor died."""


class Server(Protocol):
    """What serves at the sockets."""

    def change_services(self, services: Mapping[str, Service]) -> None:
        """Some services have new weights, health or admin states."""
        ...

    async def adopt(self, listener: str, bind: Bind, sock: socket.socket, /) -> None:
        """Serves at one more socket."""
        ...

    def release(self, listener: str, bind: Bind, /) -> None:
        """Serves no more at a socket."""
        ...

    def statistics(self) -> Mapping[str, Any]:
        """What the supervisor wants to know."""
        ...

    async def drain(self, seconds: float) -> None:
        """Lets nobody in any more and returns when all is over, or after so many seconds."""
        ...


Configured = Callable[[Any], Awaitable[str]]
"""Takes a part of a configuration. Returns why it could not, or an empty text."""


async def serve(channel: WorkerEnd, server: Server, configure: Configured) -> None:
    """Until the supervisor says Drain, or is gone."""
    seconds = ORPHAN_DRAIN
    async for message, fds in channel.messages():
        assert isinstance(message, Message)
        if isinstance(message, Drain):
            seconds = message.seconds
            break
        await _carry_out(channel, server, configure, message, fds)
    await server.drain(seconds)


async def _carry_out(
    channel: WorkerEnd, server: Server, configure: Configured, message: Message, fds: tuple[int, ...]
) -> None:
    match message:
        case Configure(part=part):
            failure = await configure(part)
            await channel.report({"failed": f"worker: {failure}"} if failure else {"ready": True})
        case ServicesChanged(services=services):
            server.change_services(services)
        case Adopt(listener=name, binds=binds):
            for bind, fd in zip(binds, fds, strict=True):
                await server.adopt(name, bind, socket.socket(fileno=fd))
        case Release(listener=name, binds=binds):
            for bind in binds:
                server.release(name, bind)
        case AskStatistics():
            await channel.report({"statistics": server.statistics()})
