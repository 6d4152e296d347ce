"""Affinity by cookie: the client carries which backend it had.

The rule: the cookie's value says nothing about the backend's address, and is the same in every worker and after every
restart. Affinity by address or header is remembered in lb4/affinity.py.
"""

from __future__ import annotations

import hashlib
import re


def cookie_of(backend: str) -> bytes:
    """The cookie value that stands for a backend."""
    return hashlib.blake2b(backend.encode(), digest_size=9).hexdigest().encode()


def cookie_value(cookies: list[bytes], name: bytes) -> bytes | None:
    """The value of a cookie in Cookie fields (RFC 6265 section 4.2)."""
    for cookie in cookies:
        found = re.search(rb"(?:^|;[ \t]*)" + re.escape(name) + rb"=\"?([^;\" \t]*)", cookie)
        if found is not None:
            return found[1]
    return None


def set_cookie(name: bytes, value: bytes, secure: bool) -> bytes:
    """The field line that gives a client its backend's cookie."""
    return b"Set-Cookie: %b=%b; Path=/; HttpOnly; SameSite=Lax%b\r\n" % (
        name,
        value,
        b"; Secure" if secure else b"",
    )
