"""The request's way to a backend: candidates, a connection, and its body for as long as another might need it.

The rule: at most REPLAY_LIMIT bytes of a body are held once it was sent; where more came, no other backend gets it.
"""

from __future__ import annotations

import asyncio
import ssl
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from lb7.exchange.deadlines import Deadlines
from lb7.exchange.sides import Asker, Client
from lb7.fields import Field
from lb7.message import RequestHead
from lb7.refusal import CONNECT_FAILED, CONNECT_TIMEOUT, INTERRUPTED, NO_BACKEND, QUEUE_FULL, Refused

if TYPE_CHECKING:
    from lb7.backends.service_state import BackendState, ServiceState
    from lb7.exchange.handler import Handler
    from lb7.http1.backend_side import BackendConnection
    from lb7.listener_state import ListenerPlan

NOBODY = Refused(503, NO_BACKEND, "the service has no backend that may get requests")
CONNECT = b"CONNECT"
REPLAY_LIMIT = 64 * 1024
"""The largest request body that is kept so that another backend can get it."""


class Outbound(Asker):
    """One request. What is set in the class is how every one begins."""

    handler: Handler
    service: ServiceState | None = None
    backend: BackendState | None = None
    attempts = 0
    status = 0
    bytes_in = 0
    is_over = False
    _candidates: Iterator[BackendState] | None = None
    _peeked: BackendState | None = None
    _connection: BackendConnection | None = None
    _task: asyncio.Task[None] | None = None
    _lines = b""
    _waiting: Deadlines[Outbound] | None = None
    _held: bytes | None = b""
    _trailers: Sequence[Field] = ()
    started = 0.0
    _request_ended = False
    _tunnel = False
    _admitted = False
    attempting = False

    client: Client
    plan: ListenerPlan
    head: RequestHead

    def _wait(self, deadlines: Deadlines[Outbound] | None) -> None:
        """Waits with this deadline and no other."""
        if self._waiting is not None:
            self._waiting.stop(self)
        self._waiting = deadlines
        if deadlines is not None:
            deadlines.start(self, monotonic())

    @property
    def source(self) -> tuple[str, int] | None:
        """The address that the backend sees, while a connection to it is in use."""
        return None if self._connection is None else self._connection.source

    @abstractmethod
    def refuse(self, refusal: Refused) -> None:
        """Answers so, or ends a response that has begun."""

    @abstractmethod
    def attempt_failed(self, status: int, reason: str, detail: str, sent: bool) -> None:
        """The backend did not answer; sent: whether it may have got a byte of the request."""

    @abstractmethod
    def tunnel_opened(self) -> None:
        """The connection that CONNECT asks for is there."""

    @abstractmethod
    def first_byte_late(self) -> None:
        """The backend's answer did not begin in time."""

    @abstractmethod
    def idle_late(self) -> None:
        """Nothing moved for too long."""

    @abstractmethod
    def queue_late(self) -> None:
        """No connection became free in time."""

    @abstractmethod
    def whole_late(self) -> None:
        """The request as a whole took too long."""

    @abstractmethod
    def continue_late(self) -> None:
        """The backend says nothing of the 100 that the client waits for."""

    def forward(self, service: ServiceState, head: bytes, candidates: Iterator[BackendState]) -> None:
        """To the first candidate; head is the request's, without the framing and the line that ends it."""
        self.service = service
        self._lines = head
        self._candidates = candidates
        service.budget.request()
        if service.max_connections and service.is_full:
            self._queue(service)
        else:
            self._admit()

    def _queue(self, service: ServiceState) -> None:
        if len(service.waiting) >= service.max_queued:
            raise Refused(503, QUEUE_FULL, "the service's connections are in use and its queue is full")
        service.waiting.append(self._admit)
        self._wait(self.handler.queues)

    def _admit(self) -> None:
        assert self.service is not None
        if self.is_over:
            return
        self._admitted = True
        self.service.in_flight += 1
        if self._waiting is not None:
            self._wait(None)
        if self.handler.wholes.seconds:
            self.handler.wholes.start(self, monotonic())
        self._attempt(NOBODY)

    def _attempt(self, otherwise: Refused) -> None:
        """To the next candidate; `otherwise` is the answer where there is none left."""
        assert self._candidates is not None
        backend = self._peeked or next(self._candidates, None)
        self._peeked = None
        if backend is None:
            self.refuse(otherwise)
            return
        if self._waiting is not None:
            self._wait(None)
        self.backend = backend
        self.attempts += 1
        self.attempting = True
        backend.begin()
        connection = None if self.head.method == CONNECT else backend.connections.take()
        if connection is not None:
            self._send(connection)
        else:
            self._open_later(backend)

    def _step_ended(self, step: asyncio.Task[None]) -> None:
        """A step that broke, or was taken away, lets nobody pass and leaves nobody waiting."""
        if self._task is not step:
            return
        self._task = None
        error = None if step.cancelled() else step.exception()
        if error is not None:
            asyncio.get_running_loop().call_exception_handler({"message": "a request's step broke", "exception": error})
        self.refuse(Refused(503, INTERRUPTED, "what the request waited for ended without an answer"))

    def _has_candidate(self) -> bool:
        """Whether there is a next candidate."""
        if self._peeked is None and self._candidates is not None:
            self._peeked = next(self._candidates, None)
        return self._peeked is not None

    def _goes_on_connecting(self, backend: BackendState) -> bool:
        """Whether the next candidate is another address of the same name and port: no retry, and no failure, yet."""
        return bool(backend.model.name) and self._has_candidate() and backend.is_same_host(self._peeked)

    def _reopen(self) -> None:
        """To the same backend, on a new connection."""
        assert self.backend is not None
        self.attempts += 1
        self._wait(None)
        self._open_later(self.backend)

    def _open_later(self, backend: BackendState) -> None:
        self._task = asyncio.ensure_future(self._open(backend))
        self._task.add_done_callback(self._step_ended)

    async def _open(self, backend: BackendState) -> None:
        try:
            connection = await backend.connections.open(self.handler.route.timeouts.connect)
        except TimeoutError:
            self._task = None
            self.attempt_failed(504, CONNECT_TIMEOUT, f"{backend.name} did not accept a connection in time", sent=False)
        except (OSError, ssl.SSLError) as error:
            self._task = None
            self.attempt_failed(502, CONNECT_FAILED, f"{backend.name}: {error.strerror or error}", sent=False)
        else:
            self._task = None
            self._send(connection)

    def _send(self, connection: BackendConnection) -> None:
        self._connection = connection
        if self.head.method == CONNECT:
            connection.begin_tunnel(self)
            self.tunnel_opened()
            return
        held, head = self._held or b"", self.head
        if not self._request_ended:
            # Before the first write, which may already pause it again.
            self.client.resume_reading()
        connection.begin(self, head.method, self._lines, head.section.length, held, self._request_ended, self._trailers)
        if len(held) > REPLAY_LIMIT:
            self._held = None
        if self._request_ended:
            # Nothing else is waited for: `_attempt` has seen to that.
            waiting = self._waiting = self.handler.first_bytes
            waiting.start(self, monotonic())
            return
        self._wait(self.handler.idles)
        if head.section.expects_continue:
            self.plan.continues.start(self, monotonic())

    def request_body(self, content: bytes, ended: bool, trailers: Sequence[Field]) -> None:
        """More of the request's body."""
        self.bytes_in += len(content)
        self._request_ended = ended
        if trailers:
            self._trailers = trailers
        if self._held is not None and not self._tunnel:
            self._held += content
        connection = self._connection
        if connection is None:
            if self._held is not None and len(self._held) > REPLAY_LIMIT:
                self.client.pause_reading()
            return
        if self._held is not None and len(self._held) > REPLAY_LIMIT:
            self._held = None
        connection.send_body(content, ended, trailers)
        self._wait(self.handler.idles if self.status or not ended else self.handler.first_bytes)
