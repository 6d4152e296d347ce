"""The head of a response (RFC 9112 sections 4, 5 and 6.3): bytes to a ResponseHead, or a refusal.

The rule: a backend is read as strictly as a client; one whose answer could be read in two ways gives 502.
"""

from __future__ import annotations

import re

from lb7.exchange.forwarding import VIA, response_fields
from lb7.fields import BadField, Field, Kind, parse_line, recall
from lb7.http1.framing import connection_options, content_length, drops_framing, is_chunked
from lb7.message import CHUNKED, UNTIL_CLOSE, ResponseHead
from lb7.refusal import BAD_RESPONSE, Refused

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
HEAD_LIMIT = 64 * 1024
FIELDS_LIMIT = 256
REMEMBERED_STATUS_LINES = 256
REMEMBERED_HEADS = 1024
REMEMBERED_LENGTH = 1024
SINGLE = Kind.CONTENT_LENGTH | Kind.TRANSFER_ENCODING
BODILESS = frozenset({204, 304})

_status_lines: dict[bytes, tuple[int, int, bytes]] = {}


def bad(detail: str) -> Refused:
    """A 502 with its detail."""
    return Refused(502, BAD_RESPONSE, detail)


_heads: dict[bytes, ResponseHead] = {}


def parse_response_head(block: bytes) -> ResponseHead:
    """The head of a response, without the empty line that ends it; heads that come again are remembered.

    Raises Refused. Its length is what the fields and the status say; to HEAD there is no body all the same.
    """
    head = _heads.get(block)
    if head is not None:
        return head
    lines = block.split(b"\r\n")
    minor, status, phrase = _status_lines.get(lines[0]) or _status_line(lines[0])
    del lines[0]
    if len(lines) > FIELDS_LIMIT:
        raise bad(f"{len(lines)} fields, more than {FIELDS_LIMIT}")
    try:
        fields = [recall(line) or parse_line(line) for line in lines]
    except BadField as error:
        raise bad(str(error)) from None
    head = ResponseHead(status, phrase, tuple(fields), minor)
    head.kinds = _kinds(fields)
    head.keep = minor == 1
    if head.kinds & Kind.CONNECTION:
        head.options = connection_options(head.values(b"connection"))
        if drops_framing(head.options):
            raise bad("a Connection that names Content-Length")
        head.keep = b"close" not in head.options and (minor == 1 or b"keep-alive" in head.options)
    head.length = _length(head)
    if status < 200 or status in BODILESS:
        head.length = 0
    head.passed = b"".join([*[field.line for field in response_fields(head)], VIA])
    if len(block) <= REMEMBERED_LENGTH:
        if len(_heads) >= REMEMBERED_HEADS:
            _heads.clear()
        _heads[block] = head
    return head


def _status_line(line: bytes) -> tuple[int, int, bytes]:
    found = STATUS_LINE.fullmatch(line)
    if found is None:
        raise bad("a status line that is not HTTP/1.1 NNN PHRASE")
    parsed = (1 if found[1] == b"1" else 0, int(found[2]), found[3] or b"")
    if len(_status_lines) < REMEMBERED_STATUS_LINES:
        _status_lines[line] = parsed
    return parsed


def _kinds(fields: list[Field]) -> int:
    kinds = 0
    for field in fields:
        kind = field.kind
        if kind:
            if kinds & kind & SINGLE:
                raise bad(f"more than one {field.name.decode()}")
            kinds |= kind
    return kinds


def _length(head: ResponseHead) -> int:
    """What the fields say of the length, whatever the status makes of it."""
    if head.kinds & Kind.TRANSFER_ENCODING:
        if head.kinds & Kind.CONTENT_LENGTH:
            raise bad("both Content-Length and Transfer-Encoding")
        if head.minor == 0:
            raise bad("Transfer-Encoding in HTTP/1.0")
        if not is_chunked(head.get(b"transfer-encoding")):
            raise bad("a Transfer-Encoding other than chunked")
        return CHUNKED
    if head.kinds & Kind.CONTENT_LENGTH:
        length = content_length(head.get(b"content-length") or b"")
        if length is None:
            raise bad("a Content-Length that is no number")
        return length
    return UNTIL_CLOSE


def refuse_unfinished(data: bytes) -> Refused | None:
    """Whether a head that has not ended can only end in a refusal."""
    line, ended, _ = data.partition(b"\r\n")
    if len(data) > HEAD_LIMIT:
        return bad(f"a head of more than {HEAD_LIMIT} bytes")
    if data.count(b"\n") != data.count(b"\r\n"):
        return bad("a bare LF in the head")
    if not b"HTTP/1.1 "[: len(data)].startswith(data[:9]) and not b"HTTP/1.0 "[: len(data)].startswith(data[:9]):
        return bad("bytes that are no HTTP/1.1 response")
    if ended and STATUS_LINE.fullmatch(line) is None:
        return bad("a status line that is not HTTP/1.1 NNN PHRASE")
    return None
