"""Messages as every version of HTTP has them: the head of a request, the head of a response.

The rule: a head that exists is unambiguous (what made it refused everything else), so who reads it decides from its
attributes and never looks at the bytes it came from. Heads are shared between exchanges and never changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from lb7.fields import Field

UNTIL_CLOSE = -2
CHUNKED = -1
"""A body's length in bytes, or one of these two: in chunks, or up to the end of the connection."""
NO_OPTIONS: frozenset[bytes] = frozenset()


class Section:
    """The fields of a head, and what they mean together. Names are looked up in lower case.

    kinds: the union of the fields' Kinds. length: of the body, as the fields say. keep: whether the sender lets its
    connection be used again. options: what its Connection field names. passed: the lines that a proxy sends on.
    """

    __slots__ = ("_headers", "fields", "keep", "kinds", "length", "options", "passed")

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = fields
        self.kinds = 0
        self.length = 0
        self.keep = True
        self.options = NO_OPTIONS
        self.passed = b""
        self._headers: list[tuple[bytes, bytes]] | None = None

    def get(self, name: bytes) -> bytes | None:
        """The first value of a field, or None."""
        for field in self.fields:
            if field.name == name:
                return field.value
        return None

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field, in their order."""
        return [field.value for field in self.fields if field.name == name]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Name in lower case and value of every field, in their order; not to be changed."""
        if self._headers is None:
            self._headers = [(field.name, field.value) for field in self.fields]
        return self._headers


class RequestSection(Section):
    """The fields of a request: host as its Host says, the protocol it wants to change to, how it describes itself.

    quoted_agent is the latter as JSON,
    passed_text is `passed` as text (latin-1), hop_text the lines that ask the next hop for an upgrade or trailers.
    """

    __slots__ = ("expects_continue", "hop_text", "host", "passed_text", "quoted_agent", "upgrade", "user_agent")

    def __init__(self, fields: Sequence[Field]) -> None:
        super().__init__(fields)
        self.host = b""
        self.upgrade = b""
        self.expects_continue = False
        self.user_agent = ""
        self.quoted_agent = '""'
        self.passed_text = ""
        self.hop_text = ""


class RequestHead:
    """The head of a request.

    target is what is sent on: `/path?query`, or `*`. host is the authority as the client wrote it, with its port if it
    had one. minor: of the version, 1 for 1.1.
    """

    __slots__ = ("host", "method", "minor", "section", "target")

    def __init__(self, method: bytes, target: bytes, host: bytes, section: RequestSection, minor: int = 1) -> None:
        self.method = method
        self.target = target
        self.host = host
        self.section = section
        self.minor = minor

    def __repr__(self) -> str:
        return f"RequestHead({self.method!r}, {self.target!r}, {self.host!r}, {list(self.section.fields)!r})"


class ResponseHead(Section):
    """The head of a response, but for what the request's method makes of its length (HEAD has no body)."""

    __slots__ = ("minor", "phrase", "status")

    def __init__(self, status: int, phrase: bytes, fields: Sequence[Field], minor: int = 1) -> None:
        super().__init__(fields)
        self.status = status
        self.phrase = phrase
        self.minor = minor

    def __repr__(self) -> str:
        return f"ResponseHead({self.status}, {self.phrase!r}, {list(self.fields)!r})"
