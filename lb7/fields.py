"""Field lines: `Name: value` as strictly as RFC 9112 section 5 writes it.

The rule: a line is parsed once and remembered, because clients and backends say the same lines again and again; what is
sent on is written anew from the parsed name and value, never the bytes that came in.
"""

from __future__ import annotations

import re

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
LINE = re.compile(rb"(" + TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)")
REMEMBERED_LINES = 4096
REMEMBERED_LENGTH = 512
"""At most 2 MiB of lines are remembered by a worker; longer ones are parsed each time."""


class Kind:
    """What a proxy has to do about a field; ORDINARY ones it passes on as they are.

    Plain integers: an IntFlag made each request a third more expensive.
    """

    ORDINARY = 0
    HOST = 1
    CONTENT_LENGTH = 2
    TRANSFER_ENCODING = 4
    CONNECTION = 8
    HOP_BY_HOP = 16
    UPGRADE = 32
    EXPECT = 64
    TE = 128
    FORWARDING = 256
    REQUEST_ID = 512
    TRACEPARENT = 1024


KINDS: dict[bytes, int] = {
    b"host": Kind.HOST,
    b"content-length": Kind.CONTENT_LENGTH,
    b"transfer-encoding": Kind.TRANSFER_ENCODING,
    b"connection": Kind.CONNECTION,
    b"keep-alive": Kind.HOP_BY_HOP,
    b"proxy-connection": Kind.HOP_BY_HOP,
    b"http2-settings": Kind.HOP_BY_HOP,
    b"upgrade": Kind.UPGRADE,
    b"expect": Kind.EXPECT,
    b"te": Kind.TE,
    b"x-forwarded-for": Kind.FORWARDING,
    b"x-forwarded-proto": Kind.FORWARDING,
    b"x-forwarded-host": Kind.FORWARDING,
    b"forwarded": Kind.FORWARDING,
    b"x-request-id": Kind.REQUEST_ID,
    b"traceparent": Kind.TRACEPARENT,
}
"""RFC 9110 section 7.6.1 lists the hop-by-hop fields; http2-settings is RFC 7540 section 3.2.1's."""

GUARDED = frozenset(KINDS) | {b"authorization"}
"""Names that many backends read as well when `_` stands for `-` in them (CGI's rule): such a line is refused."""


class BadField(ValueError):
    """The line is no field line; the message says what is wrong with it."""


class Field:
    """One field: its name in lower case, its value without the spaces around it, and the line to send on."""

    __slots__ = ("kind", "line", "name", "value")

    def __init__(self, name: bytes, value: bytes) -> None:
        self.name = name.lower()
        self.value = value
        self.line = b"%b: %b\r\n" % (name, value)
        self.kind = KINDS.get(self.name, Kind.ORDINARY)

    def __repr__(self) -> str:
        return f"Field({self.line!r})"


_remembered: dict[bytes, Field] = {}
recall = _remembered.get
"""The field of a line that was parsed before, or None."""


def parse_line(line: bytes) -> Field:
    """The field of one line without its CRLF. Raises BadField."""
    found = LINE.fullmatch(line)
    if found is None:
        raise BadField(_what_is_wrong(line))
    field = Field(found[1], found[2].strip(b" \t"))
    if b"_" in field.name and field.name.replace(b"_", b"-") in GUARDED:
        raise BadField(f"{field.name.decode()} would be read as {field.name.replace(b'_', b'-').decode()}")
    if len(line) <= REMEMBERED_LENGTH:
        if len(_remembered) >= REMEMBERED_LINES:
            _remembered.clear()
        _remembered[line] = field
    return field


def _what_is_wrong(line: bytes) -> str:
    name, colon, _ = line.partition(b":")
    if line[:1] in (b" ", b"\t"):
        return "a folded line"
    if b"\n" in line or b"\r" in line:
        return "a bare CR or LF"
    if not colon:
        return "a field line without a colon"
    if name[-1:] in (b" ", b"\t"):
        return "a space before the colon"
    if re.fullmatch(TOKEN, name) is None:
        return "a field name that is no token"
    return "a control character in a field value"
