"""What an Authorization header holds.

The rule: there is one such field or none; two are refused like a wrong one (RFC 9110 section 5.3).
"""

from __future__ import annotations

from collections.abc import Sequence

from lb7.model import Header


def only_value(headers: Sequence[Header], name: bytes) -> bytes | None:
    """The value of the one field of this name (lower case); None where it is missing, empty or repeated."""
    found = [value for key, value in headers if len(key) == len(name) and key.lower() == name]
    return found[0].strip(b" \t") or None if len(found) == 1 else None


def of_scheme(value: bytes | None, scheme: bytes) -> bytes | None:
    """What follows the scheme (lower case, compared without case) in an Authorization value."""
    if value is None:
        return None
    given, _, rest = value.partition(b" ")
    return rest.strip(b" ") or None if given.lower() == scheme else None
