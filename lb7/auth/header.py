"""A header that must be there and not empty.

The rule: an empty value is no value (unlike Envoy's), and with several fields of the name each must do.
"""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest

from lb7.auth.model import HeaderAuth
from lb7.auth.refusing import unauthorized
from lb7.auth.verdict import ALLOWED, ConnectionInfo, Verdict
from lb7.model import Header


class HeaderAuthenticator:
    """Asks for one header."""

    def __init__(self, auth: HeaderAuth) -> None:
        self._name = auth.header.lower().encode("ascii")
        self._length = len(self._name)
        self._values = tuple(value.encode() for value in auth.values)
        challenge = challenge_of(auth.header)
        self._missing = unauthorized(challenge, f"{auth.header} is missing")
        self._empty = unauthorized(challenge, f"{auth.header} is empty")
        self._wrong = unauthorized(challenge, f"{auth.header} has no accepted value")

    def authenticate(
        self, method: str, host: str, target: str, headers: Sequence[Header], connection: ConnectionInfo
    ) -> Verdict:
        """Whether the header is there, filled, and one of the accepted values."""
        found = False
        for name, value in headers:
            if len(name) != self._length or name.lower() != self._name:
                continue
            if not value.strip(b" \t"):
                return self._empty
            if self._values and not self._accepted(value.strip(b" \t")):
                return self._wrong
            found = True
        return ALLOWED if found else self._missing

    def _accepted(self, value: bytes) -> bool:
        """Compared with all of them, so that the time tells nothing."""
        return sum(compare_digest(value, wanted) for wanted in self._values) > 0


def challenge_of(header: str) -> str:
    """What to say to who lacks the header: Bearer for Authorization, else the header's name."""
    return 'Bearer realm="lbctl"' if header.lower() == "authorization" else f'Header realm="lbctl", name="{header}"'
