"""Responses as a client gets them: the head written, the body framed.

The rule: the framing is chosen here, by the client's version and what is known of the length; the caller's lines hold
no field of the hop.
"""

from __future__ import annotations

from collections.abc import Sequence

from lb7.fields import Field
from lb7.http1.body import chunk, last_chunk

CHUNKED_LINE = b"Transfer-Encoding: chunked\r\n"
CLOSE_LINE = b"Connection: close\r\n"
KEEP_LINE = b"Connection: keep-alive\r\n"
REMEMBERED_LINES = 256

_status_lines: dict[tuple[int, bytes], bytes] = {}


def status_line(status: int, reason: bytes) -> bytes:
    """The first line of a response."""
    line = _status_lines.get((status, reason))
    if line is None:
        line = b"HTTP/1.1 %d %b\r\n" % (status, reason)
        if len(_status_lines) < REMEMBERED_LINES:
            _status_lines[status, reason] = line
    return line


def head_bytes(status: int, reason: bytes, lines: bytes, chunked: bool, close: bool, minor: int) -> bytes:
    """The whole head; minor is of the client's version, which for 1.0 must hear that the connection stays."""
    if chunked:
        lines += CHUNKED_LINE
    if close:
        lines += CLOSE_LINE
    elif minor == 0:
        lines += KEEP_LINE
    return status_line(status, reason) + lines + b"\r\n"


def chunked_content(content: bytes, ended: bool, trailers: Sequence[Field]) -> bytes:
    """Content as a chunk, and the body's end where it has ended."""
    framed = chunk(content) if content else b""
    return framed + last_chunk(trailers) if ended else framed
