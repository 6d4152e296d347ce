"""The side towards a client: one connection, its requests answered one after the other in their order.

The rule: the next request is read only when the last one is answered, and after anything that is not read to its end
the connection closes; so no byte is ever taken for the start of a request that was not meant as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

from lb4.admission import Refused as Denial
from lb7.auth.verdict import ConnectionInfo
from lb7.date import date_line
from lb7.exchange.deadlines import Deadlines
from lb7.exchange.exchange import Exchange
from lb7.fields import Field
from lb7.http1.body import BadBody, BodyReader, reader_of
from lb7.http1.byte_side import ByteSide
from lb7.http1.request_head import parse_request_head, refuse_unfinished
from lb7.http1.response_bytes import chunked_content, head_bytes
from lb7.message import UNTIL_CLOSE
from lb7.refusal import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    HEAD_TIMEOUT,
    TOO_MANY_CONNECTIONS,
    Refused,
    phrase,
)

if TYPE_CHECKING:
    from lb7.listener_state import ListenerState

PIPELINED = 16
"""After so many answers at once it is looked whether the client reads them."""
READ_AHEAD = 64 * 1024
"""Bytes of pipelined requests that are held while one is answered; then reading stops."""


class ClientConnection(ByteSide):
    """Bytes to and from one client."""

    __slots__ = (
        "_buffer", "_chunked", "_content", "_eof", "_half_closed", "_listener", "_needs_linger", "_pumping", "_reader",
        "_tunnel", "_waiting", "admitted", "closing", "exchange", "forwarding", "info", "requests", "trusted",
    )  # fmt: skip

    def __init__(self, listener: ListenerState) -> None:
        super().__init__(listener.outbox)
        self._listener = listener
        self._buffer = b""
        self.exchange: Exchange | None = None
        self._reader: BodyReader | None = None
        self._content = 0
        self.closing = False
        self._needs_linger = False
        self._chunked = False
        self._pumping = self._half_closed = self._eof = False
        self._tunnel = False
        self._waiting: Deadlines[ClientConnection] | None = None
        self.requests = 0
        self.admitted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        listener = self._listener
        if transport.get_extra_info("peername") is None:
            # It was reset before it was looked at: nobody is there any more.
            self.closing = True
            self.abort()
            return
        self.info: ConnectionInfo = listener.describe(self._transport)
        self.trusted, self.forwarding = listener.forwarding_of(self.info)
        denial = listener.opened(self)
        if denial is None:
            self._wait(listener.plan.heads)
        elif denial is Denial.DENIED:
            self.closing = True
            self.abort()
        else:
            self._refuse(Refused(429, TOO_MANY_CONNECTIONS, "more connections than the listener lets in"))

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._reader is not None:
            self._body(data)
        elif self._lingering:
            self.lingered(len(data))
        elif self.closing:
            return
        else:
            self._buffer = self._buffer + data if self._buffer else data
            if self.exchange is None:
                self._pump()
            elif len(self._buffer) > READ_AHEAD:
                self.pause_reading()

    def _pump(self) -> None:
        """Reads requests from the buffer while none is being answered."""
        if self._pumping:
            return
        self._pumping = True
        try:
            answered = 0
            while self._buffer and self.exchange is None and not (self.closing or self.write_paused):
                if not self._request():
                    break
                answered += 1
                if answered % PIPELINED == 0:
                    self._outbox.flush()
        except Refused as refusal:
            self._refuse(refusal)
        finally:
            self._pumping = False
        if self._half_closed and self.exchange is None and not (self.closing or self.write_paused):
            self.closing = True
            self._end()

    def _request(self) -> bool:
        """Reads one request; False where its head is not here yet."""
        data = self._buffer
        plan = self._listener.plan
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > plan.limits.head or data[0] == 13:
            return self._unusual(data, end)
        head = parse_request_head(data[:end], plan.limits)
        self._buffer = data[end + 4 :]
        section = head.section
        self.requests += 1
        limit = plan.limits.requests
        self.closing = not section.keep or (limit is not None and self.requests >= limit) or self._listener.draining
        self._wait(None)
        exchange = self.exchange = Exchange(self, self._listener, plan, head)
        if section.length == 0:
            exchange.start(b"", True)
        else:
            self._start_with_body(exchange, section.length, plan.limits.body)
        return True

    def _start_with_body(self, exchange: Exchange, length: int, limit: int | None) -> None:
        self._reader = reader = reader_of(length)
        self._content = 0
        if limit is not None and length > limit:
            self._refuse_body(exchange, limit)
            return
        content = self._feed(reader)
        if limit is not None and self._content > limit:
            self._refuse_body(exchange, limit)
            return
        exchange.start(content, reader.ended, reader.trailers)

    def _refuse_body(self, exchange: Exchange, limit: int) -> None:
        self._needs_linger = True
        exchange.refuse(Refused(413, BODY_TOO_LARGE, f"a body of more than {limit} bytes"))

    def _wait(self, deadlines: Deadlines[ClientConnection] | None) -> None:
        """Waits with this deadline and no other."""
        if self._waiting is not None:
            self._waiting.stop(self)
        self._waiting = deadlines
        if deadlines is not None:
            deadlines.start(self, monotonic())

    def _feed(self, reader: BodyReader) -> bytes:
        """The content that is in the buffer."""
        try:
            content, self._buffer = reader.feed(self._buffer)
        except BadBody as error:
            self._needs_linger = True
            raise Refused(400, BAD_REQUEST, str(error)) from None
        self._content += len(content)
        if reader.ended:
            self._reader = None
        return content

    def _unusual(self, data: bytes, end: int) -> bool:
        plan = self._listener.plan
        if data[:2] == b"\r\n":
            # RFC 9112 section 2.2: a server ignores an empty line before a request line.
            self._buffer = data[2:]
            if self._buffer[:1] == b"\r":
                raise Refused(400, BAD_REQUEST, "empty lines where a request should be")
            return bool(self._buffer)
        if data == b"\r":
            return False
        refusal = refuse_unfinished(data if end < 0 else data[:end], plan.limits)
        if refusal is not None:
            raise refusal
        if self._waiting is not plan.heads:
            self._wait(plan.heads)
        return False

    def _body(self, data: bytes) -> None:
        reader, exchange = self._reader, self.exchange
        assert reader is not None
        if exchange is None:
            return
        try:
            content, rest = reader.feed(data)
        except BadBody as error:
            self._needs_linger = True
            exchange.refuse(Refused(400, BAD_REQUEST, str(error)))
            return
        self._content += len(content)
        limit = self._listener.plan.limits.body
        if limit is not None and self._content > limit:
            self._refuse_body(exchange, limit)
            return
        if reader.ended:
            self._reader = None
            self._buffer = rest
        if content or reader.ended:
            exchange.request_body(content, reader.ended, reader.trailers)

    def respond_interim(self, status: int, reason: bytes, lines: bytes) -> None:
        """Sends a 1xx response other than 101."""
        self._outbox.write(self._transport, b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, lines))

    def respond(
        self, status: int, reason: bytes, lines: bytes, length: int, content: bytes, ended: bool,
        trailers: Sequence[Field], minor: int,
    ) -> None:  # fmt: skip
        """Sends the final response's head (without fields of the hop) and the first of its body.

        length: of the body, negative where it is not known. minor: of the client's version.
        """
        if self._reader is not None:
            self._needs_linger = True
        self._chunked = length < 0 and minor == 1
        if self._needs_linger or (length < 0 and minor == 0) or self._listener.draining:
            self.closing = True
        if self._chunked:
            content = chunked_content(content, ended, trailers)
        self.write_joined(head_bytes(status, reason, lines, self._chunked, self.closing, minor), content)

    def send_body(self, content: bytes, ended: bool, trailers: Sequence[Field]) -> None:
        """Sends more of the body."""
        if self._chunked:
            content = chunked_content(content, ended, trailers)
        if content and not self.is_closed:
            self._outbox.write(self._transport, content)
        if ended and self._tunnel and not self.half_close() and not self.is_closed:
            # TLS cannot end one half: the client hears of the end by the end of both.
            self.close()

    def switch_protocol(self, status: int, reason: bytes, lines: bytes, content: bytes) -> None:
        """Sends a 101, or the 200 of CONNECT; from now on what the client sends is a body without end."""
        self._outbox.write(self._transport, b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, reason, lines, content))
        self._tunnel = self.closing = True
        self._reader = reader_of(UNTIL_CLOSE)
        rest, self._buffer = self._buffer, b""
        self._half_closed = False
        self.resume_reading()
        if rest:
            self._body(rest)
        if self._eof and self.exchange is not None:
            self.exchange.request_body(b"", True, ())

    def finished(self) -> None:
        """The exchange is over and its response sent."""
        self.exchange = None
        if self.is_closed:
            return
        if self.closing or (self._listener.draining and not self._buffer):
            self.closing = True
            self._end()
            return
        if not self.write_paused:
            self.resume_reading()
        if self._buffer or self._half_closed:
            self._pump()
        if self.exchange is None and not self.closing and self._waiting is None:
            self._wait(self._listener.plan.idles)

    def cut_off(self) -> None:
        """The exchange is over and its response is not whole: a reset, because only that tells every client so."""
        self.exchange = None
        self.closing = True
        if not self.is_closed:
            self.abort()

    def _refuse(self, refusal: Refused) -> None:
        """Answers bytes that are no request, and closes."""
        self.closing = self._needs_linger = True
        if self.exchange is not None:
            self.exchange.refuse(refusal)
            return
        body = f"{refusal.status} {phrase(refusal.status).decode()}: {refusal.detail}\n".encode()
        lines = date_line() + b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n" % len(body)
        self._listener.refused(self, refusal, len(body))
        self.respond(refusal.status, phrase(refusal.status), lines, len(body), body, True, (), 1)
        self._end()

    def _end(self) -> None:
        """Closes; a client that may still be sending is read for a while, so that no reset eats the answer."""
        self._wait(None)
        self._reader = None
        self._buffer = b""
        if self._needs_linger and self.linger():
            self._wait(self._listener.plan.lingers)
        else:
            self.close()
            if self._transport.get_write_buffer_size() or not self._transport.can_write_eof():
                # TLS also waits for the client's own farewell.
                self._wait(self._listener.plan.idles)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self.write_paused = True
        if self.exchange is not None:
            self.exchange.pause_response()
        else:
            self.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self.write_paused = False
        if self.exchange is not None:
            self.exchange.resume_response()
        else:
            self.resume_reading()
            self._pump()

    def eof_received(self) -> bool:
        """See asyncio.Protocol; a client that closed only its sending half still gets its answer."""
        exchange = self.exchange
        if exchange is None or not self._transport.can_write_eof():
            return False
        self._eof = True
        if self._tunnel:
            exchange.request_body(b"", True, ())
        elif self._reader is not None:
            return False
        self._half_closed = bool(self._buffer) and not self._tunnel
        self.closing = not self._half_closed
        return self.exchange is not None or self._lingering > 0

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.is_closed = True
        self._wait(None)
        self._listener.closed(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone()

    def head_is_late(self) -> None:
        """The time to send a head is over."""
        if self._buffer:
            self._refuse(Refused(408, HEAD_TIMEOUT, "the head took too long"))
        else:
            self.close()

    def idle_too_long(self) -> None:
        """No request came for too long, or a client does not take the end of what was written."""
        if not self._transport.is_closing():
            self._end()
        elif self.takes():
            self._wait(self._listener.plan.idles)
        else:
            self.abort()

    def lingered_long(self) -> None:
        """The time to read an answer is over, but for a slow client that still takes it."""
        if self.takes():
            self._wait(self._listener.plan.lingers)
        else:
            self.abort()

    def drain(self) -> None:
        """Closes when idle; else with the next answer."""
        if self.exchange is None and not self._buffer and not self.closing:
            self._end()
