"""The proxy of one worker: listeners and services as configured, the sockets it serves, and what it can tell of itself.

The rule: a new configuration is made ready whole before any of it is in force, and one that fails changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from lb4.address import Bind
from lb4.model import Backend, BackendTls, Service
from lb7.auth.model import Auth
from lb7.auth.verdict import Authenticator
from lb7.backend_connections import BackendConnections
from lb7.http1.client_side import ClientConnection
from lb7.listener_state import ListenerState
from lb7.measures import Measures
from lb7.model import HttpBalancer, HttpService, Tls
from lb7.planning import Planner
from lb7.report import statistics_of
from lb7.service_state import ServiceState

FLUSH = 0.25
"""Seconds between two writes of a quiet access log."""
BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class HttpPart:
    """What a worker is told: the whole configuration, and how many workers share it."""

    balancer: HttpBalancer
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Credentials:
    """What makes ready whatever needs keys, certificates or passwords."""

    authenticator: Callable[[Auth], Authenticator]
    client_context: Callable[[Tls], ssl.SSLContext]
    backend_context: Callable[[BackendTls], ssl.SSLContext]


class Proxy:
    """Everything that one worker process serves."""

    def __init__(self, loop: asyncio.AbstractEventLoop, credentials: Credentials) -> None:
        self.loop = loop
        self._credentials = credentials
        self.listeners: dict[str, ListenerState] = {}
        self.services: dict[str, ServiceState] = {}
        self._planner = Planner(loop, credentials.authenticator)
        self._doors: dict[tuple[str, Bind], _Door] = {}
        self._contexts: dict[str, ssl.SSLContext | None] = {}
        self._gone: set[ListenerState] = set()
        self._workers = 1
        self._tick: asyncio.TimerHandle | None = None

    async def configure(self, part: HttpPart) -> None:
        """Serves this configuration from now on. Raises OSError, ValueError, LogError, and then nothing changed."""
        balancer = part.balancer
        self._workers = part.workers
        make = self._credentials.client_context
        contexts: dict[str, ssl.SSLContext | None] = {
            name: make(each.tls) if each.tls else None for name, each in balancer.listeners.items()
        }
        services = {name: self._service(model) for name, model in balancer.services.items()}
        plans = {
            name: self._planner.plan(model, services, self._counts_of(name))
            for name, model in balancer.listeners.items()
        }
        for name, model in balancer.services.items():
            services[name].update(model)
        for name in self.services.keys() - services.keys():
            self.services[name].end()
        self.services = services
        for name in self.listeners.keys() - plans.keys():
            self._retire(self.listeners.pop(name))
        for name, plan in plans.items():
            if name in self.listeners:
                self.listeners[name].plan = plan
            else:
                self.listeners[name] = ListenerState(plan, part.workers)
        self._contexts = contexts
        await self._reopen()
        if self._tick is None:
            self._flush()

    def _service(self, model: HttpService) -> ServiceState:
        known = self.services.get(model.name)
        return known if known is not None else ServiceState(model, self._connections, self._workers)

    def _counts_of(self, listener: str) -> dict[str, Measures]:
        return self.listeners[listener].by_route if listener in self.listeners else {}

    def _connections(self, model: HttpService, backend: Backend) -> BackendConnections:
        tls = model.service.tls
        context = self._credentials.backend_context(tls) if tls is not None else None
        name = (tls.server_name or backend.name) if tls is not None else ""
        return BackendConnections(self.loop, backend.endpoint, model.kept, tls, context, name)

    def change_services(self, services: Mapping[str, Service]) -> None:
        """These services have new weights, health or admin states."""
        for name, service in services.items():
            if name in self.services:
                state = self.services[name]
                state.update(replace(state.model, service=service))

    async def adopt(self, listener: str, bind: Bind, sock: socket.socket) -> None:
        """Serves the listener's clients at this listening socket too."""
        door = self._doors[listener, bind] = _Door(sock)
        await self._open(listener, door)

    async def _open(self, listener: str, door: _Door) -> None:
        state = self.listeners[listener]
        door.context = self._contexts.get(listener)
        door.server = await self.loop.create_server(
            lambda: ClientConnection(state), sock=door.sock.dup(), ssl=door.context, backlog=BACKLOG
        )

    async def _reopen(self) -> None:
        """Takes up new TLS where a listener's changed: live connections keep the old one."""
        for (listener, _), door in list(self._doors.items()):
            if listener in self.listeners and door.context is not self._contexts.get(listener):
                door.stop()
                await self._open(listener, door)

    def release(self, listener: str, bind: Bind) -> None:
        """Accepts no more there; live connections go on."""
        door = self._doors.pop((listener, bind), None)
        if door is not None:
            door.close()

    def _retire(self, state: ListenerState) -> None:
        """The listener is no more: its connections end with the request they are at."""
        state.draining = True
        self._gone.add(state)
        for connection in list(state.connections):
            connection.drain()

    async def drain(self, seconds: float) -> None:
        """Accepts no more, answers what was asked, and returns when all is over or after so many seconds."""
        for door in self._doors.values():
            door.close()
        self._doors.clear()
        states = [*self.listeners.values(), *self._gone]
        for state in states:
            self._retire(state)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for state in states:
                    await state.empty.wait()
        for state in states:
            for connection in list(state.connections):
                connection.abort()
        for service in self.services.values():
            service.end()
        await asyncio.sleep(0)
        self.close_logs()

    def close_logs(self) -> None:
        """Writes what the access logs still hold."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        for log in self._planner.logs.values():
            log.close()
        self._planner.logs.clear()

    def statistics(self) -> Mapping[str, object]:
        """Everything counted, for JSON; lb7/report.py says what is in it."""
        lost = sum(log.lost for log in self._planner.logs.values())
        return statistics_of(self.listeners.values(), self.services.values(), lost)

    def _flush(self) -> None:
        for log in self._planner.logs.values():
            log.flush()
        self._tick = self.loop.call_later(FLUSH, self._flush)


class _Door:
    """A listening socket, and the server that accepts from a copy of it."""

    __slots__ = ("context", "server", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.server: asyncio.Server | None = None
        self.context: ssl.SSLContext | None = None

    def stop(self) -> None:
        """Accepts no more; clients that come are kept waiting by the kernel."""
        if self.server is not None:
            self.server.close()
            self.server = None

    def close(self) -> None:
        """Accepts no more, for good."""
        self.stop()
        self.sock.close()
