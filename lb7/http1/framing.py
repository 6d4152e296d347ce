"""How long a body is (RFC 9112 section 6): what Content-Length, Transfer-Encoding and Connection say.

The rule: a number is digits alone, an encoding is `chunked` alone; anything else is no framing at all.
"""

from __future__ import annotations

import re

LENGTH = re.compile(rb"[0-9]{1,18}")
"""Eighteen digits stay below 2**63 in every peer."""


def content_length(value: bytes) -> int | None:
    """The length in bytes, or None where the value is no length."""
    return int(value) if LENGTH.fullmatch(value) else None


def is_chunked(value: bytes | None) -> bool:
    """Whether the encoding is chunked and nothing else."""
    return value is not None and value.lower() == b"chunked"


def connection_options(values: list[bytes]) -> frozenset[bytes]:
    """What Connection fields name, in lower case (RFC 9110 section 7.6.1)."""
    return frozenset(option.strip(b" \t").lower() for value in values for option in value.split(b",")) - {b""}


def drops_framing(options: frozenset[bytes]) -> bool:
    """Whether a hop that follows Connection to the letter would take the body's length away."""
    return b"content-length" in options
