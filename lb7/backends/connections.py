"""The connections from a worker to one backend: opened when needed, kept for the next request, ended when long idle.

The rule: what to keep is decided in lb7/backends/kept.py; here connections are opened and closed.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from time import monotonic

from lb4.address import Endpoint
from lb7.backends.kept import Kept
from lb7.exchange.deadlines import Deadlines
from lb7.exchange.outbox import Outbox
from lb7.http1.backend_side import BackendConnection
from lb7.model import KeptConnections


class BackendConnections:
    """All of one backend."""

    __slots__ = ("_context", "_endpoint", "_idle", "_kept", "_loop", "_opened", "_server_name", "active", "outbox")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        outbox: Outbox,
        endpoint: Endpoint,
        kept: KeptConnections,
        context: ssl.SSLContext | None = None,
        server_name: str = "",
    ) -> None:
        self._loop = loop
        self.outbox = outbox
        self._endpoint = endpoint
        self._context = context
        self._server_name = server_name
        self._kept: Kept[BackendConnection] = Kept(kept.max_idle)
        self._idle: Deadlines[BackendConnection] = Deadlines(loop, kept.idle_timeout, self._idle_too_long)
        self._opened = 0
        self.active = 0

    @property
    def opened(self) -> int:
        """How many were ever opened."""
        return self._opened

    @property
    def idle(self) -> int:
        """How many wait for a request."""
        return len(self._kept)

    def limit(self, kept: KeptConnections) -> None:
        """Keeps by these bounds from now on."""
        self._kept.limit = kept.max_idle
        self._idle.seconds = kept.idle_timeout

    def take(self) -> BackendConnection | None:
        """A kept connection, or None."""
        while (connection := self._kept.take()) is not None:
            self._idle.stop(connection)
            if not connection.is_ending:
                return connection
        return None

    async def open(self, within: float) -> BackendConnection:
        """A new connection within so many seconds (0: without end). Raises TimeoutError, OSError, ssl.SSLError."""
        connection = BackendConnection(self)
        async with asyncio.timeout(within or None):
            await self._loop.create_connection(
                lambda: connection,
                str(self._endpoint.ip),
                self._endpoint.port or 80,
                ssl=self._context,
                server_hostname=(self._server_name or str(self._endpoint.ip)) if self._context else None,
                flags=socket.AI_NUMERICHOST,
            )
        # Not in connection_made: uvloop calls no connection_lost where the wait above is cancelled after it.
        self._opened += 1
        if connection.is_closed:
            raise ConnectionResetError("the connection ended at once")
        connection.counted = True
        self.active += 1
        return connection

    def give_back(self, connection: BackendConnection) -> None:
        """The connection's exchange is over and it may serve another."""
        surplus = self._kept.keep(connection)
        if surplus is not connection:
            self._idle.start(connection, monotonic())
        if surplus is not None:
            self._idle.stop(surplus)
            surplus.close()

    def ended(self, connection: BackendConnection) -> None:
        """The connection is closed, by whomever."""
        if connection.counted:
            self.active -= 1
        self._kept.drop(connection)
        self._idle.stop(connection)

    def close_kept(self) -> None:
        """Closes those that wait, and keeps none from now on."""
        self._kept.limit = 0
        for connection in self._kept.drop_all():
            self._idle.stop(connection)
            connection.close()

    def ending(self, connection: BackendConnection) -> None:
        """The connection closes once the backend took what was written; one that takes nothing is not waited for."""
        self._idle.start(connection, monotonic())

    def _idle_too_long(self, connection: BackendConnection) -> None:
        if not connection.is_closed:
            self._kept.drop(connection)
            connection.close()
        elif connection.takes():
            self._idle.start(connection, monotonic())
        else:
            connection.abort()
