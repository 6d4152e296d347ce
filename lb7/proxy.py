"""The proxy of one worker: listeners and services as configured, the sockets it serves, and what it can tell of itself.

The rule: a new configuration is made ready whole before any of it is in force, and one that fails changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Coroutine, Mapping

from lb4.address import Bind
from lb4.ledger import ALONE, Shared
from lb4.model import Backend, Service
from lb4.worker.accepting import Accepting
from lb7.backends.connections import BackendConnections
from lb7.backends.service_state import ServiceState
from lb7.exchange.outbox import Outbox
from lb7.files import Files
from lb7.http1.client_side import ClientConnection
from lb7.listener_state import ListenerPlan, ListenerState
from lb7.measures import Cells
from lb7.model import HttpService
from lb7.part import HttpPart
from lb7.planning import Planner
from lb7.report import statistics_of
from lb7.tls.contexts import ServerContext, backend_context, backend_server_name

FLUSH = 0.25
"""Seconds between two writes of a quiet access log."""


class Proxy:
    """Everything that one worker process serves."""

    def __init__(self, loop: asyncio.AbstractEventLoop, shared: Shared = ALONE) -> None:
        """shared: what all workers have together."""
        self.loop = loop
        self._shared = shared
        self.listeners: dict[str, ListenerState] = {}
        self.services: dict[str, ServiceState] = {}
        self._outbox = Outbox(loop)
        self._planner = Planner(loop)
        self._accepting: dict[tuple[str, Bind], Accepting] = {}
        self._contexts: dict[str, ssl.SSLContext | None] = {}
        self._tls: dict[str, ServerContext] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone: set[ListenerState] = set()
        self._tick: asyncio.TimerHandle | None = None

    async def configure(self, part: HttpPart) -> None:
        """Serves this configuration from now on. Raises FileError, LogError, ValueError, and then nothing changed."""
        balancer, files = part.balancer, part.files
        contexts = {name: ServerContext(each.tls, files) for name, each in balancer.listeners.items() if each.tls}
        outbound = {name: _backend_context(model, files) for name, model in balancer.services.items()}
        services = {name: self.services.get(name) or self._service(name) for name in outbound}
        counts = {name: self._counts_of(name) for name in balancer.listeners}
        plans = {
            name: self._planner.plan(model, services, files, counts[name]) for name, model in balancer.listeners.items()
        }
        # From here on nothing fails.
        self._contexts = outbound
        for name, model in balancer.services.items():
            services[name].update(model, part.workers, retls=outbound[name] is not None)
        for name in self.services.keys() - services.keys():
            self.services[name].end()
        self.services = services
        self._take_over(plans, counts)
        await self._reopen(contexts)
        if self._tick is None:
            self._flush()

    def _take_over(self, plans: Mapping[str, ListenerPlan], counts: Mapping[str, dict[str, Cells]]) -> None:
        for name in self.listeners.keys() - plans.keys():
            state = self.listeners.pop(name)
            self._retire(state)
            self._later(self._forget(state))
        for name, plan in plans.items():
            plan.gates.start()
            if name in self.listeners:
                self._later(self.listeners[name].plan.gates.close())
                self.listeners[name].replan(plan)
            else:
                self.listeners[name] = ListenerState(
                    plan, self._outbox, counts[name], self._shared.ledgers(f"listener {name}")
                )

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _service(self, name: str) -> ServiceState:
        return ServiceState(name, self._connections, self._shared)

    def _counts_of(self, listener: str) -> dict[str, Cells]:
        return self.listeners[listener].by_route if listener in self.listeners else {}

    def _connections(self, model: HttpService, backend: Backend) -> BackendConnections:
        tls = model.service.tls
        name = backend_server_name(tls, backend) if tls is not None else ""
        return BackendConnections(
            self.loop, self._outbox, backend.endpoint, model.kept, self._contexts.get(model.name), name
        )

    def change_services(self, services: Mapping[str, Service]) -> None:
        """These services have new weights, health or admin states."""
        for name, service in services.items():
            if name in self.services:
                state = self.services[name]
                state.change(service)

    async def adopt(self, listener: str, bind: Bind, sock: socket.socket) -> None:
        """Serves the listener's clients at this listening socket too."""
        accepting = self._accepting[listener, bind] = Accepting(sock, self._tls.get(listener))
        await self._open(listener, accepting)

    async def _open(self, listener: str, accepting: Accepting) -> None:
        state = self.listeners[listener]
        await accepting.start(self.loop, lambda: ClientConnection(state))

    async def _reopen(self, contexts: Mapping[str, ServerContext]) -> None:
        """Takes up new TLS: live connections keep what they have."""
        for name, context in contexts.items():
            if name in self._tls:
                self._tls[name].current = context.current
        self._tls = {name: self._tls.get(name, context) for name, context in contexts.items()}
        for (listener, _), accepting in list(self._accepting.items()):
            if listener in self.listeners and accepting.context is not self._tls.get(listener):
                accepting.context = self._tls.get(listener)
                accepting.stop()
                await self._open(listener, accepting)

    def release(self, listener: str, bind: Bind) -> None:
        """Accepts no more there; live connections go on."""
        accepting = self._accepting.pop((listener, bind), None)
        if accepting is not None:
            accepting.close()

    def _retire(self, state: ListenerState) -> None:
        """The listener is no more: its connections end with the request they are at."""
        state.draining = True
        self._gone.add(state)
        for connection in list(state.connections):
            connection.drain()

    async def _forget(self, state: ListenerState) -> None:
        await state.empty.wait()
        self._gone.discard(state)
        await state.plan.gates.close()

    async def drain(self, seconds: float) -> None:
        """Accepts no more, answers what was asked, and returns when all is over or after so many seconds."""
        for accepting in self._accepting.values():
            accepting.close()
        self._accepting.clear()
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
            # Their ends are told in the next turns, and logged.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await state.empty.wait()
            await state.plan.gates.close()
        for service in self.services.values():
            service.end()
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


def _backend_context(model: HttpService, files: Files) -> ssl.SSLContext | None:
    tls = model.service.tls
    return backend_context(tls, files) if tls is not None else None
