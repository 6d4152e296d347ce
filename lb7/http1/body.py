"""Bodies on the wire: what is taken off their framing as bytes arrive, and how a chunk is written.

The rule: a reader holds only what it cannot read yet (part of a chunk's size line or of the trailers), never content.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from lb7.fields import BadField, Field, parse_line
from lb7.message import CHUNKED

SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?")
"""RFC 9112 section 7.1; a chunk extension is dropped, as RFC 9112 section 7.1.1 lets a recipient do."""
SIZE_LINE_LIMIT = 256
TRAILERS_LIMIT = 16 * 1024
LAST_CHUNK = b"0\r\n\r\n"


class BadBody(ValueError):
    """The bytes are not framed as they should be; the message says how."""


class BodyReader(Protocol):
    """Takes bytes, gives content."""

    ended: bool
    trailers: list[Field]

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The content in these bytes, and the bytes after the body's end. Raises BadBody."""

    def finish(self) -> bool:
        """Whether the end of the connection is a good end of the body."""


class LengthReader:
    """A body of a known length."""

    __slots__ = ("ended", "remaining", "trailers")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.ended = False
        self.trailers: list[Field] = []

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See BodyReader."""
        remaining = self.remaining - len(data)
        if remaining > 0:
            self.remaining = remaining
            return data, b""
        self.ended = True
        if remaining == 0:
            self.remaining = 0
            return data, b""
        length, self.remaining = self.remaining, 0
        return data[:length], data[length:]

    def finish(self) -> bool:
        """See BodyReader."""
        return self.ended


class UntilCloseReader:
    """A body that ends with the connection."""

    __slots__ = ("ended", "trailers")

    def __init__(self) -> None:
        self.ended = False
        self.trailers: list[Field] = []

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See BodyReader."""
        return data, b""

    def finish(self) -> bool:
        """See BodyReader."""
        self.ended = True
        return True


class ChunkedReader:
    """A body in chunks (RFC 9112 section 7.1)."""

    __slots__ = ("_buffer", "_in_trailers", "_remaining", "ended", "trailers")

    def __init__(self) -> None:
        self._buffer = b""
        self._remaining = 0
        self._in_trailers = False
        self.ended = False
        self.trailers: list[Field] = []

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See BodyReader."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        parts: list[bytes] = []
        at = 0
        while not self._in_trailers:
            if self._remaining:
                # The CRLF that ends a chunk is counted with it: two bytes that are no content.
                content = min(len(data) - at, self._remaining - 2)
                if content > 0:
                    parts.append(data[at : at + content])
                    at += content
                    self._remaining -= content
                if self._remaining > 2 or len(data) - at < 2:
                    self._keep(data, at, b"\r\n" if self._remaining == 2 else b"")
                    return b"".join(parts), b""
                if data[at : at + 2] != b"\r\n":
                    raise BadBody("a chunk longer than its size")
                at += 2
                self._remaining = 0
            end = data.find(b"\r\n", at)
            if end < 0:
                self._unfinished_size_line(data, at)
                return b"".join(parts), b""
            size = self._size(data[at:end])
            if size == 0:
                self._in_trailers = True
                at = end
            else:
                self._remaining = size + 2
                at = end + 2
        return b"".join(parts), self._trailers(data[at:])

    def finish(self) -> bool:
        """See BodyReader."""
        return self.ended

    def _keep(self, data: bytes, at: int, expected: bytes) -> None:
        self._buffer = data[at:]
        if not expected.startswith(self._buffer[:2]) and expected:
            raise BadBody("a chunk longer than its size")

    def _unfinished_size_line(self, data: bytes, at: int) -> None:
        self._buffer = data[at:]
        if len(self._buffer) > SIZE_LINE_LIMIT or b"\n" in self._buffer:
            raise BadBody("a chunk size line without an end")

    def _size(self, line: bytes) -> int:
        found = SIZE_LINE.fullmatch(line)
        if found is None or len(line) > SIZE_LINE_LIMIT:
            raise BadBody("a chunk size that is no hexadecimal number")
        return int(found[1], 16)

    def _trailers(self, data: bytes) -> bytes:
        """Reads from the CRLF that ends the last chunk's size line; gives what follows the body."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._buffer = data
            if len(data) > TRAILERS_LIMIT or re.search(rb"(?<!\r)\n", data):
                raise BadBody("trailers without an end")
            return b""
        self.trailers = [_trailer(line) for line in data[2:end].split(b"\r\n")] if end else []
        self.ended = True
        return data[end + 4 :]


def _trailer(line: bytes) -> Field:
    try:
        field = parse_line(line)
    except BadField as error:
        raise BadBody(f"in the trailers, {error}") from None
    if field.kind or field.name in (b"authorization", b"cookie", b"set-cookie"):
        raise BadBody(f"{field.name.decode()} in the trailers")
    return field


def reader_of(length: int) -> BodyReader:
    """The reader of a body of that length, CHUNKED or UNTIL_CLOSE."""
    if length >= 0:
        return LengthReader(length)
    return ChunkedReader() if length == CHUNKED else UntilCloseReader()


def chunk(content: bytes) -> bytes:
    """The content as one chunk; it must not be empty, which would be the last chunk."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def last_chunk(trailers: Sequence[Field]) -> bytes:
    """The end of a chunked body."""
    if not trailers:
        return LAST_CHUNK
    return b"".join([b"0\r\n", *[field.line for field in trailers], b"\r\n"])
