"""The exchange: one request on its way to a backend, and the response on its way back.

The rule: whoever is below (HTTP/1.1 today) turns bytes into calls of this class, and calls of its Client into bytes;
here is decided what the client hears when a backend answers, and when it does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from lb7.auth.verdict import ALLOWED, Allowed
from lb7.backends.ejection import FAILURE_STATUS
from lb7.backends.retrying import IDEMPOTENT, may_retry, may_retry_status
from lb7.date import date_line
from lb7.exchange.forwarding import VIA, may_upgrade
from lb7.exchange.outbound import Outbound
from lb7.exchange.sides import Client
from lb7.fields import Field
from lb7.message import RequestHead, ResponseHead
from lb7.refusal import (
    BAD_RESPONSE,
    CLIENT_GONE,
    CONNECT_FAILED,
    FIRST_BYTE_TIMEOUT,
    IDLE_TIMEOUT,
    QUEUE_TIMEOUT,
    WHOLE_TIMEOUT,
    Refused,
    phrase,
)

if TYPE_CHECKING:
    from lb7.backends.service_state import BackendState
    from lb7.listener_state import ListenerPlan, ListenerState

CLIENT_CLOSED = 499
"""nginx's status for a client that left before its answer; only the log sees it."""


class Exchange(Outbound):
    """One request and its response. What is set in the class is how every exchange begins."""

    verdict: Allowed = ALLOWED
    method = ""
    host = ""
    target = ""
    status = 0
    reason = ""
    detail = ""
    bytes_out = 0
    request_id = ""
    client_address = ""
    seconds = 0.0
    affinity: tuple[bytes, BackendState | None, bool] | None = None
    affinity_key: bytes | None = None
    _response_ended = False

    def __init__(self, client: Client, listener: ListenerState, plan: ListenerPlan, head: RequestHead) -> None:
        self.client = client
        self.listener = listener
        self.plan = plan
        self.head = head
        self.started = monotonic()
        self.handler = plan.unmatched

    def start(self, content: bytes, ended: bool, trailers: Sequence[Field] = ()) -> None:
        """The head is here, and the first of the body."""
        self._held = content
        self._trailers = trailers
        self.bytes_in = len(content)
        self._request_ended = ended
        try:
            self.handler = self.plan.handler_of(self)
            if self.handler.gate is not None:
                waiting = self.handler.authenticate(self.handler.gate, self)
                if waiting is not None:
                    self._task = asyncio.ensure_future(self._check_later(waiting))
                    self._task.add_done_callback(self._step_ended)
                    return
            self.handler.act(self)
        except Refused as refusal:
            self.refuse(refusal)

    async def _check_later(self, waiting: Awaitable[None]) -> None:
        try:
            await waiting
            self._task = None
            if not self.is_over:
                self.handler.act(self)
        except Refused as refusal:
            self._task = None
            self.refuse(refusal)

    def answer(self, status: int, reason: bytes, lines: bytes, body: bytes) -> None:
        """Answers by itself; lines without Content-Length."""
        self.status = status
        self.bytes_out = len(body)
        if b"\r\ndate:" not in b"\r\n" + lines.lower():
            lines = date_line() + lines
        if status != 204 and status >= 200:
            lines += b"Content-Length: %d\r\n" % len(body)
        content = b"" if self.head.method == b"HEAD" or status in (204, 304) else body
        self.client.respond(status, reason, lines, len(content), content, True, (), self.head.minor)
        self._finish()

    def refuse(self, refusal: Refused) -> None:
        """See Outbound."""
        if self.is_over:
            return
        self.reason, self.detail = refusal.reason, refusal.detail
        if refusal.status == 400:
            self.client.closing = True
        self._leave_backend()
        if self.status:
            self._finish(whole=False)
            return
        self.answer(*self.plan.refusal(refusal))

    # What the backend says

    def interim(self, head: ResponseHead) -> None:
        """A 1xx response other than 101."""
        if self.is_over:
            return
        self.plan.continues.stop(self)
        if self.head.minor == 1:
            lines = head.passed if head.status != 100 else b""
            self.client.respond_interim(head.status, head.phrase or phrase(head.status), lines)

    def response(self, head: ResponseHead, length: int, content: bytes, ended: bool, trailers: Sequence[Field]) -> None:
        """The final response's head, the length of its body, and what came with it."""
        handler, backend, service = self.handler, self.backend, self.service
        assert backend is not None
        assert service is not None
        status = head.status
        if ended:
            # The connection is the next exchange's.
            self._connection = None
        if self.head.section.expects_continue:
            self.plan.continues.stop(self)
        if status >= FAILURE_STATUS:
            service.failed(backend)
        else:
            backend.record.failures = 0
        if status == 101:
            self._switch(head, content)
            return
        if status >= 400 and handler.retries_status and self._retries_status(status):
            return
        lines = handler.response_head(self, head)
        self.status = status
        self.bytes_out += len(content)
        self.client.respond(status, head.phrase, lines, length, content, ended, trailers, self.head.minor)
        if ended:
            self._finish()
        else:
            self._wait(handler.idles)
            if self.client.write_paused:
                self.pause_response()

    def _retries_status(self, status: int) -> bool:
        assert self.service is not None
        retries = self.handler.route.retries
        replayable = self._held is not None and self._request_ended
        if not may_retry_status(self.head.method, retries, self.attempts, status, replayable):
            return False
        if not self._has_candidate() or not self.service.budget.spend(retries.budget):
            return False
        self._leave_backend()
        self._attempt(Refused(status, "", ""))
        return True

    def _switch(self, head: ResponseHead, content: bytes) -> None:
        if not self.head.section.hop_text.startswith("Connection: Upgrade"):
            self.attempt_failed(502, BAD_RESPONSE, "101 without having been asked", sent=True)
            return
        upgrade = head.get(b"upgrade") or self.head.section.upgrade
        if not self._request_ended or not may_upgrade(upgrade):
            self.attempt_failed(502, BAD_RESPONSE, "101 to what was not asked, or before it was asked", sent=True)
            return
        lines = head.passed + b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade
        self._open_tunnel(101, head.phrase, lines, content)

    def tunnel_opened(self) -> None:
        """See Outbound."""
        self._open_tunnel(200, phrase(200), VIA, b"")

    def _open_tunnel(self, status: int, reason: bytes, lines: bytes, content: bytes) -> None:
        """From here on bytes go both ways as they come."""
        self.status = status
        self._tunnel, self._request_ended, self._held = True, False, None
        self.bytes_out += len(content)
        self.handler.wholes.stop(self)
        self._wait(self.handler.idles)
        if self.client.write_paused:
            self.pause_response()
        self.client.switch_protocol(status, reason, lines, content)

    def response_body(self, content: bytes, ended: bool, trailers: Sequence[Field]) -> None:
        """More of the response's body."""
        if self.is_over:
            return
        self.bytes_out += len(content)
        if ended and not self._tunnel:
            # Before the last write, which may fill the client's buffer: the connection is the next exchange's.
            self._connection = None
        self.client.send_body(content, ended, trailers)
        if not ended:
            self._wait(self.handler.idles)
            return
        self._response_ended = True
        if not self._tunnel or self._request_ended:
            self._finish()

    def request_body(self, content: bytes, ended: bool, trailers: Sequence[Field]) -> None:
        """More of the request's body."""
        super().request_body(content, ended, trailers)
        if self._tunnel and ended and self._response_ended:
            self._finish()

    def backend_lost(self, reason: str, detail: str, answered: bool) -> None:
        """The connection ended before the response did."""
        connection, self._connection = self._connection, None
        if self._tunnel:
            self._finish()
        elif connection is not None and not answered and connection.requests > 1 and self._may_repeat():
            # The backend ended a kept connection just when it was taken: that is no failure of the backend.
            self._reopen()
        else:
            self.attempt_failed(502, reason, detail, sent=True, answered=answered)

    def _may_repeat(self) -> bool:
        return not self.status and self._held is not None and self.head.method in IDEMPOTENT

    def attempt_failed(self, status: int, reason: str, detail: str, sent: bool, answered: bool = False) -> None:
        """See Outbound."""
        service, backend, head = self.service, self.backend, self.head
        if self.is_over or service is None or backend is None:
            return
        refusal = Refused(status, reason, detail)
        if reason == CONNECT_FAILED and self._goes_on_connecting(backend):
            self._leave_backend()
            self.attempts -= 1
            self._attempt(refusal)
            return
        service.failed(backend)
        backend.failures += 1
        retries = self.handler.route.retries
        replayable = self._held is not None and not answered
        if (
            self.status
            or not may_retry(head.method, retries, self.attempts, reason, sent, replayable)
            or not service.budget.spend(retries.budget)
        ):
            self.refuse(refusal)
        else:
            self.reason, self.detail = "", ""
            self._leave_backend()
            backend.retries += 1
            self._attempt(refusal)

    # Who is slow, and who left

    def pause_request(self) -> None:
        """The backend takes no more just now."""
        self.client.pause_reading()

    def resume_request(self) -> None:
        """The backend takes more again."""
        self.client.resume_reading()

    def pause_response(self) -> None:
        """The client takes no more just now."""
        # Before its response began the backend is read on: its silence is measured, and the head is small.
        if self._connection is not None and self.status:
            self._connection.pause_reading()

    def resume_response(self) -> None:
        """The client takes more again."""
        if self._connection is not None:
            self._connection.resume_reading()

    def client_gone(self) -> None:
        """The client's connection ended."""
        if self.is_over:
            return
        if not self._tunnel:
            self.reason, self.detail = CLIENT_GONE, "the client closed its connection"
            self.status = self.status or CLIENT_CLOSED
        self._leave_backend()
        self._finish()

    def continue_late(self) -> None:
        """The backend says nothing of the 100 that the client waits for: the body may come all the same."""
        self.client.respond_interim(100, phrase(100), b"")

    def first_byte_late(self) -> None:
        """The backend's answer did not begin in time."""
        backend, connection = self.backend, self._connection
        if connection is not None and backend is not None:
            self._connection = None
            connection.abandon()
            self.attempt_failed(504, FIRST_BYTE_TIMEOUT, f"{backend.name} did not answer in time", sent=True)

    def idle_late(self) -> None:
        """Nothing moved for too long."""
        if [side for side in (self.client, self._connection) if side is not None and side.takes()]:
            # What a slow peer's kernel holds takes it a while to read: nothing is read for it here, and it is not idle.
            self._wait(self.handler.idles)
            return
        status = 408 if not self._request_ended else 504
        self.refuse(Refused(status, IDLE_TIMEOUT, "nothing was sent or received for too long"))

    def whole_late(self) -> None:
        """The request as a whole took too long."""
        self.refuse(Refused(504, WHOLE_TIMEOUT, "the request took too long"))

    def queue_late(self) -> None:
        """No connection became free in time."""
        self.refuse(Refused(503, QUEUE_TIMEOUT, "the service's connections stayed in use"))

    # The end

    def _leave_backend(self) -> None:
        """Ends the attempt that is under way, if one is."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close() if self._tunnel else connection.abandon()
        if self._admitted and self.backend is not None and self.attempting:
            self.attempting = False
            self.backend.end()

    def _finish(self, whole: bool = True) -> None:
        """Everything is said: counts, logs, and lets the client's connection go on."""
        if self.is_over:
            return
        self.is_over = True
        self._leave_backend()
        if self._waiting is not None:
            self._waiting.stop(self)
        if self.head.section.expects_continue:
            self.plan.continues.stop(self)
        if self.handler.wholes.seconds:
            self.handler.wholes.stop(self)
        if self.service is not None:
            self.service.release() if self._admitted else self.service.forget(self._admit)
        self.listener.count(self)
        if whole:
            self.client.finished()
        else:
            self.client.cut_off()
