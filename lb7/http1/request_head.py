"""The head of a request (RFC 9112 sections 2, 3 and 5): bytes to a RequestHead, or a refusal.

The rule: whatever two parsers could read differently is refused with 400, however common it is.
"""

from __future__ import annotations

import re
from json.encoder import encode_basestring_ascii

from lb7.exchange.forwarding import request_fields, upgrade_text
from lb7.fields import TOKEN, BadField, Kind, parse_line, recall
from lb7.http1.framing import connection_options, content_length, drops_framing, is_chunked
from lb7.message import CHUNKED, RequestHead, RequestSection
from lb7.model import HttpLimits
from lb7.refusal import (
    BAD_REQUEST,
    HEAD_TOO_LARGE,
    TARGET_TOO_LONG,
    TOO_MANY_FIELDS,
    VERSION_REFUSED,
    Refused,
)

REQUEST_LINE = re.compile(rb"(" + TOKEN[:-1] + rb"{1,64}) ([\x21\x22\x24-\x7e]+) HTTP/1\.([01])")
HOST = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""RFC 3986 section 3.2.2 without user information."""
HOST_LIMIT = 320
"""The longest name (RFC 1035: 255 bytes) and a port fit; hosts are remembered, so their length must be bounded."""
ABSOLUTE = re.compile(rb"(?i:(https?)://)([^/?]+)(.*)")
DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}
SINGLE = Kind.HOST | Kind.CONTENT_LENGTH | Kind.TRANSFER_ENCODING
"""Fields that a request must not repeat, not even with the same value."""
QUIET = Kind.HOST | Kind.FORWARDING | Kind.REQUEST_ID | Kind.TRACEPARENT
"""Kinds that say nothing about the body or the connection."""
SLASH = 0x2F
REMEMBERED_SECTIONS = 1024
REMEMBERED_LENGTH = 1024
"""At most about 4 MiB of field sections are remembered by a worker; longer ones are parsed each time."""


def bad(detail: str) -> Refused:
    """A 400 with its detail."""
    return Refused(400, BAD_REQUEST, detail)


_sections: dict[bytes, RequestSection] = {}


def parse_request_head(block: bytes, limits: HttpLimits) -> RequestHead:
    """The head of one request, without the empty line that ends it. Raises Refused."""
    line, _, rest = block.partition(b"\r\n")
    found = REQUEST_LINE.fullmatch(line)
    if found is None:
        raise _bad_request_line(line)
    method, target, minor = found.groups()
    if len(target) > limits.target:
        raise Refused(414, TARGET_TOO_LONG, f"a target of {len(target)} bytes, more than {limits.target}")
    remembered = _sections.get(rest) if minor == b"1" else None
    section = remembered or _section(rest, 1 if minor == b"1" else 0)
    if len(section.fields) > limits.header_count:
        raise Refused(431, TOO_MANY_FIELDS, f"{len(section.fields)} fields, more than {limits.header_count}")
    host = section.host
    if target[0] != SLASH or method == b"CONNECT":
        target, host = _other_target(method, target, host)
    if method == b"CONNECT" and section.length:
        # RFC 9110 section 9.3.6: content of CONNECT has no meaning; what follows the head is the tunnel's.
        raise bad("CONNECT with a body")
    return RequestHead(method, target, host, section, 1 if minor == b"1" else 0)


def _section(block: bytes, minor: int) -> RequestSection:
    """The fields, parsed; those of HTTP/1.1 are remembered, because a client sends the same again and again."""
    try:
        fields = [recall(line) or parse_line(line) for line in block.split(b"\r\n")] if block else []
    except BadField as error:
        raise bad(str(error)) from None
    section = RequestSection(tuple(fields))
    _kinds(section, minor)
    section.keep = minor == 1
    if section.kinds & ~QUIET:
        _framed(section, minor)
    passed = request_fields(section)
    section.passed = b"".join([field.line for field in passed])
    section.passed_text = section.passed.decode("latin-1")
    section.hop_text = upgrade_text(section)
    section.user_agent = (section.get(b"user-agent") or b"").decode("latin-1")
    section.quoted_agent = encode_basestring_ascii(section.user_agent)
    if minor == 1 and len(block) <= REMEMBERED_LENGTH:
        if len(_sections) >= REMEMBERED_SECTIONS:
            _sections.clear()
        _sections[block] = section
    return section


def _kinds(section: RequestSection, minor: int) -> None:
    kinds = 0
    for field in section.fields:
        kind = field.kind
        if kind:
            if kinds & kind & SINGLE:
                raise bad(f"more than one {field.name.decode()}")
            kinds |= kind
            if kind == Kind.HOST:
                section.host = field.value
    if kinds & Kind.HOST:
        if not _is_host(section.host):
            raise bad("a Host that is no host")
    elif minor == 1:
        raise bad("no Host")
    section.kinds = kinds


def _framed(section: RequestSection, minor: int) -> None:
    kinds = section.kinds
    if kinds & Kind.CONNECTION:
        section.options = connection_options(section.values(b"connection"))
        if drops_framing(section.options):
            raise bad("a Connection that names Content-Length")
        section.keep = b"close" not in section.options and (minor == 1 or b"keep-alive" in section.options)
    if kinds & Kind.TRANSFER_ENCODING:
        if kinds & Kind.CONTENT_LENGTH:
            raise bad("both Content-Length and Transfer-Encoding")
        if minor == 0:
            raise bad("Transfer-Encoding in HTTP/1.0")
        if not is_chunked(section.get(b"transfer-encoding")):
            raise bad("a Transfer-Encoding other than chunked")
        section.length = CHUNKED
    elif kinds & Kind.CONTENT_LENGTH:
        length = content_length(section.get(b"content-length") or b"")
        if length is None:
            raise bad("a Content-Length that is no number")
        section.length = length
    if kinds & Kind.EXPECT:
        if [value.lower() for value in section.values(b"expect")] != [b"100-continue"]:
            raise Refused(417, BAD_REQUEST, "an expectation other than 100-continue")
        section.expects_continue = minor == 1 and section.length != 0
    if kinds & Kind.UPGRADE and b"upgrade" in section.options and minor == 1:
        section.upgrade = section.get(b"upgrade") or b""


def _other_target(method: bytes, target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """Target and host of the forms of RFC 9112 section 3.2 that are not a path. Raises Refused."""
    if method == b"CONNECT":
        if not _is_host(target):
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
    if not _is_host(authority):
        raise bad("a URL whose host is none")
    if host and not _same_host(authority, host, scheme.lower()):
        raise bad("a URL at odds with Host")
    if not rest:
        rest = b"*" if method == b"OPTIONS" else b"/"
    return (rest if rest[:1] in (b"/", b"*") else b"/" + rest), authority


def _is_host(text: bytes) -> bool:
    return len(text) <= HOST_LIMIT and HOST.fullmatch(text) is not None


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
    if data.count(b"\n") != data.count(b"\r\n") or b"\0" in line:
        return bad("a bare LF or NUL in the head")
    if len(line) > limits.target + 300:
        return Refused(414, TARGET_TOO_LONG, f"a target of more than {limits.target} bytes")
    if len(data) > limits.head:
        return Refused(431, HEAD_TOO_LARGE, f"a head of more than {limits.head} bytes")
    if ended and REQUEST_LINE.fullmatch(line) is None:
        return _bad_request_line(line)
    return None
