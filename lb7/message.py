"""Messages as every version of HTTP has them: the head of a request, the head of a response.

The rule: a head that exists is unambiguous (what made it refused everything else), so who reads it decides from its
attributes and never looks at the bytes it came from. Names are compared in lower case.
"""

from __future__ import annotations

from collections.abc import Sequence

from lb7.fields import Field

UNTIL_CLOSE = -2
CHUNKED = -1
"""A body's length in bytes, or one of these two: in chunks, or up to the end of the connection."""


class _Head:
    __slots__ = ("fields", "kinds", "length", "minor")

    fields: Sequence[Field]
    kinds: int
    length: int
    minor: int

    def get(self, name: bytes) -> bytes | None:
        """The first value of a field by its name in lower case, or None."""
        for field in self.fields:
            if field.name == name:
                return field.value
        return None

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field by its name in lower case, in their order."""
        return [field.value for field in self.fields if field.name == name]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Name in lower case and value of every field, in their order."""
        return [(field.name, field.value) for field in self.fields]


class RequestHead(_Head):
    """The head of a request.

    target is what is sent on: `/path?query`, or `*`. host is the authority as the client wrote it, with its port if it
    had one. kinds: the union of its fields' Kinds. length: of the body, 0 for none. minor: of the version, 1 for 1.1.
    keep: whether the client lets its connection be used again. options: what its Connection field names.
    """

    __slots__ = ("expects_continue", "host", "keep", "method", "options", "path", "query", "target", "upgrade")

    def __init__(self, method: bytes, target: bytes, host: bytes, fields: Sequence[Field], minor: int = 1) -> None:
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition(b"?")
        self.host = host
        self.fields = fields
        self.minor = minor
        self.kinds = 0
        self.length = 0
        self.keep = minor == 1
        self.options: frozenset[bytes] = frozenset()
        self.upgrade = b""
        self.expects_continue = False

    def __repr__(self) -> str:
        return f"RequestHead({self.method!r}, {self.target!r}, {self.host!r}, {list(self.fields)!r})"


class ResponseHead(_Head):
    """The head of a response; keep: whether the backend lets its connection be used again."""

    __slots__ = ("keep", "options", "phrase", "status")

    def __init__(self, status: int, phrase: bytes, fields: Sequence[Field], minor: int = 1) -> None:
        self.status = status
        self.phrase = phrase
        self.fields = fields
        self.minor = minor
        self.kinds = 0
        self.length = 0
        self.keep = minor == 1
        self.options: frozenset[bytes] = frozenset()

    def __repr__(self) -> str:
        return f"ResponseHead({self.status}, {self.phrase!r}, {list(self.fields)!r})"
