"""A listening socket of a worker, and the server that accepts from it.

The rule: the socket stays while the server comes and goes, so that no client that waits in its queue is lost.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

BACKLOG = 4096
SHUTDOWN = 86400.0
"""Seconds in which a TLS client may take what is still to be said: whoever takes nothing is ended sooner, as idle."""


class Accepting:
    """Accepts at one socket, through TLS where it has a context."""

    __slots__ = ("context", "server", "sock")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        """Accepts nothing yet."""
        self.sock = sock
        self.context = context
        self.server: asyncio.Server | None = None

    async def start(self, loop: asyncio.AbstractEventLoop, made: Callable[[], asyncio.Protocol]) -> None:
        """Accepts from a copy of the socket; made: the protocol of one more connection."""
        self.server = await loop.create_server(
            made,
            sock=self.sock.dup(),
            ssl=self.context,
            backlog=BACKLOG,
            ssl_shutdown_timeout=None if self.context is None else SHUTDOWN,
        )

    def stop(self) -> None:
        """Accepts no more; clients that come are kept waiting by the kernel."""
        if self.server is not None:
            self.server.close()
            self.server = None

    def close(self) -> None:
        """Accepts no more, for good."""
        self.stop()
        self.sock.close()
