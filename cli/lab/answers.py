"""What the lab's HTTP server answers, as a function of bytes.

The rule: no socket and no clock; a request is taken when it is whole.

    /ping             200 Pong
    /healthz          200 ok, or the status set by POST /healthz/STATUS
    /bytes/N          200, N bytes
    anything else     200, JSON: server, client, local, method, path, headers, body (its length)
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

HEAD_END = b"\r\n\r\n"
BYTES_MAX = 1 << 30


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request; header names as they came."""

    method: str
    path: str
    version: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def header(self, name: str) -> str:
        """A header's first value, or nothing."""
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes of a response, and whether the connection ends with it."""

    message: bytes
    close: bool


class Answers:
    """The answers of one server; remembers only the health it was told to show."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._health = 200

    def take(self, received: bytearray) -> Request | None:
        """Takes the first whole request off the bytes, or None while there is none."""
        end = received.find(HEAD_END)
        if end < 0:
            return None
        request = _parse_head(bytes(received[:end]))
        length = request.header("content-length")
        start = end + len(HEAD_END)
        whole = start + (int(length) if length.isdigit() else 0)
        if len(received) < whole:
            return None
        body = bytes(received[start:whole])
        del received[:whole]
        return Request(request.method, request.path, request.version, request.headers, body)

    def answer(self, request: Request, client: str, local: str) -> Answer:
        """The response to a request from `client` that came in on `local`."""
        status, body, kind = self._content(request, client, local)
        close = request.header("connection").lower() == "close" or request.version == "HTTP/1.0"
        head = [
            f"HTTP/1.1 {status} {'OK' if status == 200 else 'Status'}",
            f"Server: {self._name}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            *(["Connection: close"] if close else []),
        ]
        message = "\r\n".join(head).encode() + HEAD_END + (b"" if request.method == "HEAD" else body)
        return Answer(message, close)

    def _content(self, request: Request, client: str, local: str) -> tuple[int, bytes, str]:
        path = request.path.partition("?")[0]
        if path == "/ping":
            return 200, b"Pong\n", "text/plain"
        if path.startswith("/healthz"):
            return self._healthz(request.method, path), b"ok\n", "text/plain"
        if asked := re.fullmatch(r"/bytes/(\d{1,10})", path):
            return 200, b"x" * min(int(asked[1]), BYTES_MAX), "application/octet-stream"
        seen = {
            "server": self._name,
            "client": client,
            "local": local,
            "method": request.method,
            "path": request.path,
            "headers": request.headers,
            "body": len(request.body),
        }
        return 200, json.dumps(seen).encode() + b"\n", "application/json"

    def _healthz(self, method: str, path: str) -> int:
        told = re.fullmatch(r"/healthz/([2-5]\d\d)", path)
        if method == "POST" and told:
            self._health = int(told[1])
            return 200
        return self._health


def _parse_head(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    path, _, version = rest.partition(" ")
    pairs = (line.partition(":") for line in lines)
    return Request(method, path, version, tuple((name, value.strip()) for name, _, value in pairs))
