"""From a configuration to what serves it: handlers, deadlines and route tables of every listener.

The rule: nothing here is in force until the proxy puts it there; what cannot be made raises, and then nothing changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from lb7.access_log import AccessLogFile, Format, json_line, template
from lb7.auth.gate import Gates
from lb7.backends.service_state import ServiceState
from lb7.exchange.deadlines import Deadlines
from lb7.exchange.handler import HANDLERS, Waits
from lb7.exchange.outbound import Outbound
from lb7.files import Files
from lb7.http1.client_side import ClientConnection
from lb7.listener_state import ListenerPlan, Waiting
from lb7.measures import Cells
from lb7.model import AccessLog, Forward, HttpListener, Route, Timeouts
from lb7.routes.table import compile_routes

LINGER = 2.0
"""Seconds that a refused client is still read."""
CONTINUE_WAIT = 1.0
"""Seconds after which a client gets its 100 even if the backend has not said it."""

T = TypeVar("T")


class Shared(Generic[T]):
    """One Deadlines for each number of seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[T], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._made: dict[float, Deadlines[T]] = {}

    def of(self, seconds: float) -> Deadlines[T]:
        """The one for so many seconds."""
        if seconds not in self._made:
            self._made[seconds] = Deadlines(self._loop, seconds, self._expired)
        return self._made[seconds]


class Planner:
    """Makes plans; deadlines of equal length and logs of one name are shared by all of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.logs: WeakValueDictionary[str, AccessLogFile] = WeakValueDictionary()
        self._first_bytes: Shared[Outbound] = Shared(loop, lambda e: e.first_byte_late())
        self._idles: Shared[Outbound] = Shared(loop, lambda e: e.idle_late())
        self._queues: Shared[Outbound] = Shared(loop, lambda e: e.queue_late())
        self._wholes: Shared[Outbound] = Shared(loop, lambda e: e.whole_late())
        self._continues: Shared[Outbound] = Shared(loop, lambda e: e.continue_late())
        self._heads: Shared[ClientConnection] = Shared(loop, ClientConnection.head_is_late)
        self._idle_clients: Shared[ClientConnection] = Shared(loop, ClientConnection.idle_too_long)
        self._lingers: Shared[ClientConnection] = Shared(loop, ClientConnection.lingered_long)

    def plan(
        self, model: HttpListener, services: Mapping[str, ServiceState], files: Files, by_route: dict[str, Cells]
    ) -> ListenerPlan:
        """The plan of a listener. Raises LogError, FileError. by_route: its routes' counts so far."""
        routes = (model.unmatched, *model.routes)
        gates = Gates([route.auth for route in routes], files)
        log = self._log(model.access_log)
        handlers = {
            route.number: HANDLERS[type(route.action)](
                route,
                _weighted(route, services),
                gates.of(route.auth),
                self._waits(route.timeouts),
                by_route.setdefault(route.name, {}),
                model.request_id_header,
                model.forwarded,
            )
            for route in routes
        }
        limits = model.limits
        waiting = Waiting(
            self._heads.of(limits.head_timeout),
            self._idle_clients.of(limits.idle_timeout),
            self._lingers.of(LINGER),
            self._continues.of(CONTINUE_WAIT),
        )
        return ListenerPlan(model, compile_routes(model.routes, model.unmatched), handlers, gates, log, waiting)

    def _waits(self, timeouts: Timeouts) -> Waits:
        return Waits(
            self._first_bytes.of(timeouts.first_byte),
            self._idles.of(timeouts.idle),
            self._queues.of(timeouts.connect),
            self._wholes.of(timeouts.request),
        )

    def _log(self, asked: AccessLog) -> tuple[AccessLogFile, Format] | None:
        if asked.to == "off":
            return None
        form = json_line if asked.format == "json" else template(asked.format)
        log = self.logs.get(asked.to)
        if log is None:
            log = self.logs[asked.to] = AccessLogFile(asked.to)
        return log, form


def _weighted(route: Route, services: Mapping[str, ServiceState]) -> Sequence[tuple[int, ServiceState]]:
    """The services of a forwarding route, each with the sum of the weights so far."""
    if not isinstance(route.action, Forward):
        return ()
    summed, upper = [], 0
    for each in route.action.services:
        upper += each.weight
        if each.weight:
            summed.append((upper, services[each.service]))
    return summed
