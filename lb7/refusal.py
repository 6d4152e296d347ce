"""Refusals: what is said to a client instead of an answer from a backend.

The rule: a refusal has a status for the client, and a reason of one or two words for the access log; the words are
listed here and nowhere else, so that a log can be searched for them.
"""

from __future__ import annotations

BAD_REQUEST = "bad-request"
BAD_RESPONSE = "bad-response"
BODY_TOO_LARGE = "body-too-large"
CLIENT_GONE = "client-gone"
CONNECT_FAILED = "connect-failed"
CONNECT_TIMEOUT = "connect-timeout"
CONNECTION_LOST = "connection-lost"
DRAINED = "drained"
FIRST_BYTE_TIMEOUT = "first-byte-timeout"
HEAD_TIMEOUT = "head-timeout"
HEAD_TOO_LARGE = "head-too-large"
IDLE_TIMEOUT = "idle-timeout"
INTERRUPTED = "interrupted"
METHOD_REFUSED = "method-refused"
NO_BACKEND = "no-backend"
QUEUE_FULL = "queue-full"
QUEUE_TIMEOUT = "queue-timeout"
TARGET_TOO_LONG = "target-too-long"
TOO_MANY_CONNECTIONS = "too-many-connections"
TOO_MANY_FIELDS = "too-many-fields"
VERSION_REFUSED = "version-refused"
WHOLE_TIMEOUT = "whole-timeout"

PHRASES: dict[int, bytes] = {
    100: b"Continue",
    101: b"Switching Protocols",
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    204: b"No Content",
    301: b"Moved Permanently",
    302: b"Found",
    303: b"See Other",
    304: b"Not Modified",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    410: b"Gone",
    413: b"Content Too Large",
    414: b"URI Too Long",
    421: b"Misdirected Request",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}
"""RFC 9110 section 15 and RFC 6585; any other status is written without a phrase."""


class Refused(Exception):
    """A message that is not passed on: the status it is answered with, why, and the detail for people."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail


def phrase(status: int) -> bytes:
    """The reason phrase of a status, empty where none is registered."""
    return PHRASES.get(status, b"")
