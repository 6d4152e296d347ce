"""The head of a request (RFC 9112 sections 2, 3 and 5): bytes to a RequestHead, or a refusal.

The rule: whatever two parsers could read differently is refused with 400, however common it is.
"""

from __future__ import annotations

import re

from lb7.fields import TOKEN, BadField, Field, Kind, parse_line, recall
from lb7.http1.framing import connection_options, content_length, is_chunked
from lb7.message import CHUNKED, RequestHead
from lb7.model import HttpLimits
from lb7.refusal import (
    BAD_REQUEST,
    HEAD_TOO_LARGE,
    TARGET_TOO_LONG,
    TOO_MANY_FIELDS,
    VERSION_REFUSED,
    Refused,
)

REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21\x22\x24-\x7e]+) HTTP/1\.([01])")
HOST = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""RFC 3986 section 3.2.2 without user information."""
ABSOLUTE = re.compile(rb"(?i:(https?)://)([^/?]+)(.*)")
DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}
SINGLE = Kind.HOST | Kind.CONTENT_LENGTH | Kind.TRANSFER_ENCODING
"""Fields that a request must not repeat, not even with the same value."""
QUIET = Kind.HOST | Kind.FORWARDING | Kind.REQUEST_ID | Kind.TRACEPARENT
"""Kinds that say nothing about the body or the connection."""


def bad(detail: str) -> Refused:
    """A 400 with its detail."""
    return Refused(400, BAD_REQUEST, detail)


def parse_request_head(block: bytes, limits: HttpLimits) -> RequestHead:
    """The head of one request, without the empty line that ends it. Raises Refused."""
    lines = block.split(b"\r\n")
    found = REQUEST_LINE.fullmatch(lines[0])
    if found is None:
        raise _bad_request_line(lines[0])
    method, target, minor = found.groups()
    if len(target) > limits.target:
        raise Refused(414, TARGET_TOO_LONG, f"a target of {len(target)} bytes, more than {limits.target}")
    del lines[0]
    if len(lines) > limits.header_count:
        raise Refused(431, TOO_MANY_FIELDS, f"{len(lines)} fields, more than {limits.header_count}")
    try:
        fields = [recall(line) or parse_line(line) for line in lines]
    except BadField as error:
        raise bad(str(error)) from None
    return _head(method, target, fields, 1 if minor == b"1" else 0)


def _head(method: bytes, target: bytes, fields: list[Field], minor: int) -> RequestHead:
    kinds = 0
    host = b""
    for field in fields:
        kind = field.kind
        if kind:
            if kinds & kind & SINGLE:
                raise bad(f"more than one {field.name.decode()}")
            kinds |= kind
            if kind == Kind.HOST:
                host = field.value
    if kinds & Kind.HOST:
        if HOST.fullmatch(host) is None:
            raise bad("a Host that is no host")
    elif minor == 1:
        raise bad("no Host")
    if target[0] != 0x2F or method == b"CONNECT":
        target, host = _other_target(method, target, host)
    head = RequestHead(method, target, host, fields, minor)
    head.kinds = kinds
    if kinds & ~QUIET:
        _framed(head)
    return head


def _framed(head: RequestHead) -> None:
    kinds = head.kinds
    if kinds & Kind.CONNECTION:
        head.options = connection_options(head.values(b"connection"))
        head.keep = b"close" not in head.options and (head.minor == 1 or b"keep-alive" in head.options)
    if kinds & Kind.TRANSFER_ENCODING:
        if kinds & Kind.CONTENT_LENGTH:
            raise bad("both Content-Length and Transfer-Encoding")
        if head.minor == 0:
            raise bad("Transfer-Encoding in HTTP/1.0")
        if not is_chunked(head.get(b"transfer-encoding")):
            raise bad("a Transfer-Encoding other than chunked")
        head.length = CHUNKED
    elif kinds & Kind.CONTENT_LENGTH:
        length = content_length(head.get(b"content-length") or b"")
        if length is None:
            raise bad("a Content-Length that is no number")
        head.length = length
    if kinds & Kind.EXPECT:
        _expects(head)
    if kinds & Kind.UPGRADE and b"upgrade" in head.options and head.minor == 1:
        head.upgrade = head.get(b"upgrade") or b""


def _expects(head: RequestHead) -> None:
    if [value.lower() for value in head.values(b"expect")] != [b"100-continue"]:
        raise Refused(417, BAD_REQUEST, "an expectation other than 100-continue")
    head.expects_continue = head.minor == 1 and head.length != 0


def _other_target(method: bytes, target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """Target and host of the forms of RFC 9112 section 3.2 that are not a path. Raises Refused."""
    if method == b"CONNECT":
        if HOST.fullmatch(target) is None:
            raise bad("CONNECT needs host:port")
        if host.lower() != target.lower():
            raise bad("CONNECT to another host than Host names")
        return target, host
    if target == b"*" and method == b"OPTIONS":
        return target, host
    found = ABSOLUTE.fullmatch(target)
    if found is None:
        raise bad("a target that is neither a path nor a URL")
    scheme, authority, rest = found.groups()
    if HOST.fullmatch(authority) is None:
        raise bad("a URL whose host is none")
    if host and not _same_host(authority, host, scheme.lower()):
        raise bad("a URL at odds with Host")
    if not rest:
        rest = b"*" if method == b"OPTIONS" else b"/"
    return (rest if rest[:1] in (b"/", b"*") else b"/" + rest), authority


def _same_host(authority: bytes, host: bytes, scheme: bytes) -> bool:
    port = DEFAULT_PORTS[scheme]
    return authority.lower().removesuffix(port) == host.lower().removesuffix(port)


def _bad_request_line(line: bytes) -> Refused:
    version = line.rpartition(b" ")[2]
    if re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version) and version[:7] != b"HTTP/1.":
        return Refused(505, VERSION_REFUSED, "a version other than HTTP/1.0 and HTTP/1.1")
    return bad("a request line that is not METHOD TARGET HTTP/1.1")


def refuse_unfinished(data: bytes, limits: HttpLimits) -> Refused | None:
    """Whether a head that has not ended can only end in a refusal, by its size or by the bytes it has."""
    line, ended, _ = data.partition(b"\r\n")
    if b"\n" in line or b"\0" in line:
        return bad("a bare LF or NUL in the request line")
    if len(line) > limits.target + 300:
        return Refused(414, TARGET_TOO_LONG, f"a target of more than {limits.target} bytes")
    if len(data) > limits.head:
        return Refused(431, HEAD_TOO_LARGE, f"a head of more than {limits.head} bytes")
    if ended and REQUEST_LINE.fullmatch(line) is None:
        return _bad_request_line(line)
    return None
