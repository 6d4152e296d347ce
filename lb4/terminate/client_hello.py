"""The server name a TLS client asks for, read from its ClientHello without ending TLS.

The rule: bytes in, a name out, no I/O; what is no ClientHello is told apart from one that is not whole yet.
Source: RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3.
"""

from __future__ import annotations

HANDSHAKE = 22
CLIENT_HELLO = 1
SERVER_NAME = 0
HOST_NAME = 0
LIMIT = 16384 + 5
"""Bytes after which a hello that is still not whole is refused: one TLS record."""


class NoClientHelloError(ValueError):
    """The bytes are no TLS ClientHello."""


class _Reader:
    """Takes fields off a byte string, each at most as long as what is left."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise NoClientHelloError("a length in the ClientHello goes past its end")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    @property
    def left(self) -> bool:
        return self.at < len(self.data)


def server_name(data: bytes) -> str | None:
    """The name asked for, lower case, empty where none is; None when more bytes are needed.

    Raises NoClientHelloError.
    """
    handshake = b""
    at = 0
    while True:
        if len(data) >= at + 1 and data[at] != HANDSHAKE:
            raise NoClientHelloError("the connection does not start with a TLS handshake")
        if len(data) < at + 5:
            _bounded(data)
            return None
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if len(data) < at + 5 + size:
            _bounded(data)
            return None
        handshake += data[at + 5 : at + 5 + size]
        at += 5 + size
        if len(handshake) >= 4:
            if handshake[0] != CLIENT_HELLO:
                raise NoClientHelloError("the first handshake message is no ClientHello")
            length = int.from_bytes(handshake[1:4], "big")
            if len(handshake) >= 4 + length:
                return _name_in(handshake[4 : 4 + length])


def _bounded(data: bytes) -> None:
    if len(data) >= LIMIT:
        raise NoClientHelloError(f"the ClientHello is longer than {LIMIT} bytes")


def _name_in(hello: bytes) -> str:
    reader = _Reader(hello)
    reader.take(2 + 32)
    reader.vector(1)
    reader.vector(2)
    reader.vector(1)
    if not reader.left:
        return ""
    extensions = _Reader(reader.vector(2))
    while extensions.left:
        kind, body = extensions.number(2), extensions.vector(2)
        if kind == SERVER_NAME:
            return _host_name(_Reader(_Reader(body).vector(2)))
    return ""


def _host_name(names: _Reader) -> str:
    while names.left:
        kind, name = names.number(1), names.vector(2)
        if kind == HOST_NAME:
            return name.decode("ascii", "replace").lower().rstrip(".")
    return ""
