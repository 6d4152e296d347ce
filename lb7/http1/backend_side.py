"""The side towards a backend: one connection, one exchange at a time.

The rule: a connection serves another exchange only when the last one ended exactly where its framing said, and a byte
that nobody asked for ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, cast

from lb4.unsent import unsent
from lb7.exchange.outbox import Outbox
from lb7.exchange.sides import Asker
from lb7.fields import Field
from lb7.http1.body import BadBody, BodyReader, chunk, last_chunk, reader_of
from lb7.http1.response_head import HEAD_LIMIT, parse_response_head, refuse_unfinished
from lb7.message import CHUNKED, UNTIL_CLOSE, ResponseHead
from lb7.refusal import BAD_RESPONSE, CONNECTION_LOST, Refused

NO_TRAILERS: list[Field] = []
JOIN_LIMIT = 16 * 1024
"""Up to so many bytes it is cheaper to copy content behind its head than to hand the kernel two pieces."""


class Keeper(Protocol):
    """What opened a connection, and has it while no exchange does."""

    outbox: Outbox

    def give_back(self, connection: BackendConnection) -> None:
        """The connection's exchange is over and it may serve another."""

    def ending(self, connection: BackendConnection) -> None:
        """The connection closes once the backend took what was written."""

    def ended(self, connection: BackendConnection) -> None:
        """The connection is closed, by whomever."""


class BackendConnection(asyncio.Protocol):
    """Bytes to and from one backend."""

    __slots__ = (
        "_asker", "_buffer", "_chunked", "_full", "_keep", "_method", "_owner", "_reader", "_sent_all", "_transport",
        "_tunnel", "_unsent", "answered", "counted", "is_closed", "paused", "requests",
    )  # fmt: skip

    def __init__(self, owner: Keeper) -> None:
        self._owner = owner
        self._asker: Asker | None = None
        self._buffer = b""
        self._reader: BodyReader | None = None
        self._method = b""
        self._chunked = False
        self._sent_all = True
        self._full = False
        self._keep = True
        self._tunnel = False
        self.requests = self._unsent = 0
        self.answered = False
        self.counted = False
        self.is_closed = False
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        # uvloop's transports are asyncio's in all but their class.
        self._transport = cast(asyncio.Transport, transport)

    @property
    def is_ending(self) -> bool:
        """Whether it is closed, or about to be: its end is told only in a later turn of the loop."""
        return self._transport.is_closing()

    @property
    def source(self) -> tuple[str, int]:
        """The address that the backend sees."""
        host, port, *_ = self._transport.get_extra_info("sockname")
        return str(host), int(port)

    def begin(
        self, asker: Asker, method: bytes, head: bytes, length: int, content: bytes, ended: bool,
        trailers: Sequence[Field] = NO_TRAILERS,
    ) -> None:  # fmt: skip
        """Sends a request: its head without Transfer-Encoding and the line that ends it, and the first of its body."""
        self._asker = asker
        self._method = method
        self.answered = False
        self.requests += 1
        self._sent_all = ended
        self._chunked = length == CHUNKED
        if self._chunked:
            head += b"Transfer-Encoding: chunked\r\n"
            content = chunk(content) if content else b""
            if ended:
                content += last_chunk(trailers)
        if len(content) <= JOIN_LIMIT:
            self._owner.outbox.write(self._transport, head + b"\r\n" + content)
        else:
            self._owner.outbox.write(self._transport, head + b"\r\n")
            self._owner.outbox.write(self._transport, content)

    def begin_tunnel(self, asker: Asker) -> None:
        """Passes bytes on as they come, both ways, from the first."""
        self._asker = asker
        self._keep = self._sent_all = False
        self._tunnel = True
        self._reader = reader_of(UNTIL_CLOSE)

    def send_body(self, content: bytes, ended: bool, trailers: Sequence[Field]) -> None:
        """Sends more of the request's body."""
        if self.is_closed:
            return
        self._sent_all = ended
        if self._chunked:
            content = chunk(content) if content else b""
            if ended:
                content += last_chunk(trailers)
        if content:
            self._owner.outbox.write(self._transport, content)
        if ended and self._tunnel:
            if self._transport.can_write_eof():
                self._owner.outbox.flush()
                self._transport.write_eof()
            else:
                # TLS cannot end one half: the backend hears of the end by the end of both.
                self.close()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        asker = self._asker
        if asker is None:
            self._keep = False
            self.close()
            return
        self.answered = True
        try:
            if self._reader is not None:
                self._body(asker, data)
            else:
                self._head(asker, self._buffer + data if self._buffer else data)
        except (Refused, BadBody) as error:
            self._fail(BAD_RESPONSE, str(error))

    def _head(self, asker: Asker, data: bytes) -> None:
        end = data.find(b"\r\n\r\n")
        while end >= 0:
            if end > HEAD_LIMIT:
                raise Refused(502, BAD_RESPONSE, f"a head of more than {HEAD_LIMIT} bytes")
            head = parse_response_head(data[:end])
            data = data[end + 4 :]
            if head.status >= 200 or head.status == 101:
                self._buffer = b""
                self._response(asker, head, data)
                return
            asker.interim(head)
            end = data.find(b"\r\n\r\n")
        self._buffer = data
        if data:
            refusal = refuse_unfinished(data)
            if refusal is not None:
                raise refusal

    def _response(self, asker: Asker, head: ResponseHead, data: bytes) -> None:
        status, length = head.status, head.length
        if status == 101:
            self._keep = self._chunked = False
            self._tunnel = True
            self._reader = reader_of(UNTIL_CLOSE)
            asker.response(head, UNTIL_CLOSE, data, False, NO_TRAILERS)
            return
        if length and self._method == b"HEAD":
            length = 0
        self._keep = head.keep and self._sent_all and length != UNTIL_CLOSE
        if length == 0:
            self._keep = self._keep and not data
            self._done()
            asker.response(head, 0, b"", True, NO_TRAILERS)
        elif len(data) == length:
            self._done()
            asker.response(head, length, data, True, NO_TRAILERS)
        else:
            self._reader = reader = reader_of(length)
            content, rest = reader.feed(data) if data else (b"", b"")
            if reader.ended:
                self._keep = self._keep and not rest
                self._done()
            asker.response(head, length, content, reader.ended, reader.trailers)

    def _body(self, asker: Asker, data: bytes) -> None:
        reader = self._reader
        assert reader is not None
        content, rest = reader.feed(data)
        if reader.ended:
            self._keep = self._keep and not rest
            self._done()
        asker.response_body(content, reader.ended, reader.trailers)

    def _done(self) -> None:
        """The response ended where it should: the connection is kept, or closed."""
        self._asker = None
        self._reader = None
        self._chunked = False
        if self.paused:
            self.resume_reading()
        if self._keep and self._sent_all and not self._full and not self.is_closed:
            self._owner.give_back(self)
        else:
            self.close()

    def _fail(self, reason: str, detail: str) -> None:
        asker, self._asker = self._asker, None
        answered = self.answered
        self.abort()
        if asker is not None:
            asker.backend_lost(reason, detail, answered)

    def abandon(self) -> None:
        """The exchange wants no more of the response."""
        self._asker = None
        self.abort()

    def takes(self) -> bool:
        """Whether the backend, slow as it is, took bytes since this was last asked."""
        before, self._unsent = self._unsent, unsent(self._transport)
        return 0 < self._unsent != before

    def pause_reading(self) -> None:
        """Reads no more until resume_reading; while it serves no exchange it is read all the same, to see its end."""
        if not self.paused and not self.is_closed and self._asker is not None:
            self.paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Reads again."""
        if self.paused and not self.is_closed:
            self.paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._full = True
        if self._asker is not None:
            self._asker.pause_request()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._full = False
        if self._asker is not None:
            self._asker.resume_request()

    def eof_received(self) -> bool:
        """See asyncio.Protocol; a backend that closed only its half of a tunnel still gets the client's bytes."""
        if not self._tunnel or self._asker is None or not self._transport.can_write_eof():
            return False
        self._asker.response_body(b"", True, NO_TRAILERS)
        return not self.is_closed

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.is_closed = True
        self._owner.ended(self)
        asker, reader = self._asker, self._reader
        self._asker = None
        if asker is None:
            return
        if exc is None and not self._tunnel and reader is not None and not reader.ended and reader.finish():
            asker.response_body(b"", True, NO_TRAILERS)
            return
        how = "closed" if exc is None else f"{exc}"
        asker.backend_lost(CONNECTION_LOST, f"the backend's connection ended: {how}", self.answered)

    def close(self) -> None:
        """Ends it once what was written is sent."""
        self.is_closed = True
        self._owner.outbox.flush()
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._owner.ending(self)

    def abort(self) -> None:
        """Ends it now."""
        self.is_closed = True
        self._transport.abort()
