"""How a refused request is answered, whatever method refused it.

The rule: 401 says how to do better (WWW-Authenticate, RFC 9110 section 11.6.1), 403 that it would not help, 503 that
nobody could tell; none says why in so many words, which is for the access log.
"""

from __future__ import annotations

from lb7.auth.verdict import Refused
from lb7.model import Header

PLAIN: Header = (b"Content-Type", b"text/plain; charset=utf-8")


def unauthorized(challenge: str, reason: str) -> Refused:
    """401 with a challenge: what would be accepted."""
    headers = (PLAIN, (b"WWW-Authenticate", challenge.encode("ascii")))
    return Refused(401, reason, headers, b"authentication required\n")


def forbidden(reason: str) -> Refused:
    """403: known, and not let in."""
    return Refused(403, reason, (PLAIN,), b"forbidden\n")


def undecided(reason: str) -> Refused:
    """503: who should decide could not be asked, so nobody passes."""
    return Refused(503, reason, (PLAIN, (b"Retry-After", b"1")), b"authentication is not available\n")
