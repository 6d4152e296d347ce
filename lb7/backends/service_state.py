"""What a worker knows of its services while it serves: backends in use, ejections, requests that wait.

The rule: a new configuration changes this in place: a backend that stays keeps its connections, its counts and its
history, and one that is gone ends when its last request has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import random
from time import monotonic

from lb4.address import Endpoint
from lb4.affinity import Affinities
from lb4.ledger import ALONE, Ledger, Shared
from lb4.model import Affinity, Backend, SchedulerKind, Service
from lb4.schedulers.picker import Picker
from lb4.schedulers.slots import seed
from lb7.backends.affinity import cookie_of
from lb7.backends.connections import BackendConnections
from lb7.backends.ejection import Record, observe_failure
from lb7.backends.retrying import Budget
from lb7.model import HttpService


class BackendState:
    """One backend of one service, as this worker sees it."""

    __slots__ = (
        "connections",
        "cookie",
        "failures",
        "in_flight",
        "key",
        "load",
        "model",
        "name",
        "quoted_name",
        "record",
        "retries",
    )

    def __init__(self, service: str, model: Backend, connections: BackendConnections, load: Ledger) -> None:
        """load: the requests in flight of all workers."""
        self.model = model
        self.name = str(model)
        self.cookie = cookie_of(self.name)
        self.connections = connections
        self.load = load
        self.in_flight = 0
        self.retries = 0
        self.failures = 0
        self.key = (service, self.name)
        self.quoted_name = f'"{self.name}"'
        self.record = Record()

    def begin(self) -> None:
        """One more request is in flight."""
        self.in_flight += 1
        self.load.add(None, 1)

    def end(self) -> None:
        """It is over."""
        self.in_flight -= 1
        self.load.add(None, -1)

    def is_same_host(self, other: BackendState | None) -> bool:
        """Whether the other is the same DNS name and port."""
        return other is not None and self._host == other._host

    @property
    def _host(self) -> tuple[str, int | None]:
        return self.model.name, self.model.endpoint.port


def _same_name_first(first: BackendState, others: Sequence[BackendState]) -> Sequence[BackendState]:
    """The other addresses of the same name and port come next: a host may listen in one family alone."""
    return sorted(others, key=lambda state: not first.is_same_host(state))


Connector = Callable[[HttpService, Backend], BackendConnections]


class ServiceState:
    """One service, as this worker sees it."""

    def __init__(self, name: str, connect: Connector, shared: Shared = ALONE) -> None:
        """connect: makes the connections of a new backend. shared: what all workers have together."""
        self.name = name
        self.model = HttpService(Service(name))
        self._connect = connect
        self._shared = shared
        self._workers = 1
        self.backends: dict[str, BackendState] = {}
        self.budget = Budget()
        self.waiting: deque[Callable[[], None]] = deque()
        self.in_flight = 0
        self._letting_go = False
        self.max_connections = 0
        self.max_queued = 0
        self._affinity: Affinity | None = None
        self.table: Affinities | None = None
        self.picker = Picker(SchedulerKind.ROUND_ROBIN, (), shared.turns(name))
        self.eligible: Sequence[BackendState] = ()

    def update(self, model: HttpService, workers: int, retls: bool) -> None:
        """Serves by the new model from now on; retls: its TLS was read anew, so kept connections end."""
        self._workers = workers
        if retls or (model.service.tls is None) != (self.model.service.tls is None):
            for state in self.backends.values():
                state.connections.close_kept()
            self.backends = {}
        self.model = model
        self._rebuild_backends()
        self._let_go()

    def change(self, service: Service) -> None:
        """The same service with other backends, weights, health or admin states."""
        self.model = replace(self.model, service=service)
        self._rebuild_backends()

    def _rebuild_backends(self) -> None:
        model, known = self.model, self.backends
        self.backends = {}
        for backend in model.service.backends:
            state = known.pop(str(backend), None) or self._new(model, backend)
            state.model = backend
            state.connections.limit(model.kept)
            self.backends[state.name] = state
        for gone in known.values():
            gone.connections.close_kept()
        self.max_connections = -(-model.service.max_connections // self._workers)
        self.max_queued = -(-model.service.max_queued // self._workers)
        self._remember_by(model.service.affinity)
        self.rebuild()

    def _new(self, model: HttpService, backend: Backend) -> BackendState:
        load = self._shared.ledgers(f"backend {backend} of {self.name}")
        return BackendState(self.name, backend, self._connect(model, backend), load)

    def _remember_by(self, affinity: Affinity | None) -> None:
        if affinity == self._affinity:
            return
        self._affinity = affinity
        remembers = affinity is not None and affinity.key != "cookie"
        self.table = self._shared.affinities(self.name, affinity.timeout) if affinity and remembers else None

    def rebuild(self) -> None:
        """Takes up which backends are eligible now."""
        now = monotonic()
        service = self.model.service
        eligible = service.eligible()
        standing = tuple(b for b in eligible if not self.backends[str(b)].record.ejected(now)) or eligible
        self.eligible = [self.backends[str(b)] for b in standing]
        self.picker = Picker(service.scheduler.kind, standing, self.picker.turn, seed(service))
        kind = service.scheduler.kind
        self.needs_key = service.affinity is not None or kind in (SchedulerKind.SOURCE_HASH, SchedulerKind.MAGLEV)
        self._counts = service.scheduler.kind is SchedulerKind.LEAST_CONNECTIONS
        self._next_return = min((s.record.until for s in self.backends.values() if s.record.ejected(now)), default=0.0)

    def candidates(self, key: bytes, now: float, preferred: BackendState | None = None) -> Iterator[BackendState]:
        """The backends for one request, best first, each once; key is what hashing schedulers hash."""
        if self._next_return and now >= self._next_return:
            self.rebuild()
        eligible = self.eligible
        if not eligible:
            return
        if preferred is not None:
            yield preferred
        active = [state.load.live(None) for state in eligible] if self._counts else ()
        first = self.picker.place(key, active, random())
        best = preferred or eligible[first]
        if preferred is None:
            yield best
        others = (*eligible[first:], *eligible[:first])
        for state in _same_name_first(best, others) if best.model.name else others:
            if state is not best:
                yield state

    def of_endpoint(self, endpoint: Endpoint | None) -> BackendState | None:
        """The backend of that address where it may get new requests."""
        state = self.backends.get(str(endpoint)) if endpoint is not None else None
        return state if state in self.eligible else None

    def of_cookie(self, cookie: bytes | None) -> BackendState | None:
        """The backend that the cookie stands for, where it may get new requests."""
        if not cookie:
            return None
        return next((state for state in self.eligible if state.cookie == cookie), None)

    def failed(self, state: BackendState) -> bool:
        """A request to the backend failed; whether that ejected it."""
        rule = self.model.ejection
        if rule is None:
            return False
        records = [other.record for other in self.backends.values()]
        ejected = observe_failure(state.record, rule, monotonic(), records)
        if ejected:
            self.rebuild()
        return ejected

    @property
    def is_full(self) -> bool:
        """Whether the service's cap on connections is reached."""
        return bool(self.max_connections) and self.in_flight >= self.max_connections

    def release(self) -> None:
        """A request is over: the next that waits may go."""
        self.in_flight -= 1
        if self.waiting:
            self._let_go()

    def _let_go(self) -> None:
        if self._letting_go:
            # Who goes may be refused at once, and release: the loop below goes on with the next, not deeper.
            return
        self._letting_go = True
        try:
            while self.waiting and not self.is_full:
                self.waiting.popleft()()
        finally:
            self._letting_go = False

    def forget(self, waiting: Callable[[], None]) -> None:
        """Who waited waits no more."""
        if waiting in self.waiting:
            self.waiting.remove(waiting)

    def end(self) -> None:
        """The service is no more: requests under way go on, kept connections end."""
        for state in self.backends.values():
            state.connections.close_kept()
