"""Bearer tokens (RFC 6750) that are signed JWTs (RFC 7519).

The rule: a token passes when a key of ours verifies it and its `exp` (which it must have), `nbf`, `iss` and `aud`
hold; only the configured algorithms are tried. A verified token is remembered until it expires or the keys change.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import jwt
from jwt.exceptions import InvalidTokenError, PyJWTError

from lb7.auth.credentials import of_scheme, only_value
from lb7.auth.jwt_keys import Key, keys_of_file
from lb7.auth.key_set import KeySet
from lb7.auth.model import JwtAuth
from lb7.auth.refusing import unauthorized, undecided
from lb7.auth.verdict import Allowed, ConnectionInfo, Refused, Verdict
from lb7.model import Header

REMEMBERED = 4096
TOKEN_MAX = 16 * 1024


class JwtAuthenticator:
    """Asks for a token signed by a known key."""

    def __init__(self, auth: JwtAuth, content: bytes | None, clock: Callable[[], float] = time.time) -> None:
        """content: the key file's, where the configuration names one; clock: seconds since 1970. Raises FileError."""
        self._auth = auth
        self._clock = clock
        self._header = auth.header.lower().encode("ascii")
        self._claims = tuple((claim, header.encode("ascii")) for claim, header in auth.claims)
        self._ours = tuple(header for _, header in self._claims)
        self._set = KeySet(auth.jwks_url, auth.refresh, auth.algorithms) if auth.jwks_url else None
        self._keys = () if content is None else keys_of_file(content, auth.keys, auth.algorithms)
        self._missing = unauthorized('Bearer realm="lbctl"', f"no token in {auth.header}")
        self._remembered: dict[bytes, tuple[float, Allowed]] = {}

    def start(self) -> None:
        """Begins to fetch keys, where they come from a URL."""
        if self._set is not None:
            self._set.start()

    async def close(self) -> None:
        """Fetches no more."""
        if self._set is not None:
            await self._set.close()

    def authenticate(
        self, method: str, host: str, target: str, headers: Sequence[Header], connection: ConnectionInfo
    ) -> Verdict | Awaitable[Verdict]:
        """Whether the token is good; an awaitable where its key is unknown and the key set may be fetched again."""
        value = only_value(headers, self._header)
        bare = self._header != b"authorization" and value is not None and b" " not in value
        token = value if bare else of_scheme(value, b"bearer")
        if token is None:
            return self._missing
        self._take_new_keys()
        known = self._remembered.get(token)
        if known is not None and known[0] > self._clock():
            return known[1]
        if self._set is not None and self._set.may_bring() and not self._candidates(token):
            return self._after_fetch(self._set, token)
        return self._judged(token)

    async def _after_fetch(self, keys: KeySet, token: bytes) -> Verdict:
        await keys.newer()
        self._take_new_keys()
        return self._judged(token)

    def _take_new_keys(self) -> None:
        if self._set is not None and self._set.keys is not self._keys:
            self._keys = self._set.keys
            self._remembered.clear()

    def _judged(self, token: bytes) -> Verdict:
        if not self._keys and self._set is not None:
            return undecided(f"no keys: {self._set.failure}")
        reason = "its key is unknown"
        for key in self._candidates(token):
            try:
                return self._passed(token, self._verified(token, key))
            except (PyJWTError, ValueError, TypeError) as error:
                reason = str(error)
        return invalid(reason)

    def _candidates(self, token: bytes) -> tuple[Key, ...]:
        """The keys that the token's head fits: its kid where it and the key have one, and its algorithm."""
        if len(token) > TOKEN_MAX:
            return ()
        try:
            head = jwt.get_unverified_header(token)
        except (InvalidTokenError, ValueError, RecursionError):
            # A head of a thousand nested brackets ends in the last one.
            return ()
        kid, algorithm = head.get("kid"), head.get("alg")
        fitting = tuple(key for key in self._keys if algorithm in key.algorithms)
        return tuple(key for key in fitting if kid is None or key.id is None or key.id == kid)

    def _verified(self, token: bytes, key: Key) -> Mapping[str, Any]:
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=list(key.algorithms),
            audience=self._auth.audiences or None,
            issuer=self._auth.issuer or None,
            leeway=self._auth.leeway,
            options={"require": ["exp"], "verify_aud": bool(self._auth.audiences)},
        )
        return claims

    def _passed(self, token: bytes, claims: Mapping[str, Any]) -> Allowed:
        named = tuple((header, field_value(claims[claim])) for claim, header in self._claims if claim in claims)
        subject = claims.get("sub")
        allowed = Allowed(subject if isinstance(subject, str) else "", named, self._ours)
        if len(self._remembered) >= REMEMBERED:
            self._remembered.clear()
        self._remembered[token] = (float(claims["exp"]) + self._auth.leeway, allowed)
        return allowed


def field_value(claim: object) -> bytes:
    """A claim as a field value: texts as they are, all else as JSON. Raises ValueError where it cannot be one."""
    text = claim if isinstance(claim, str) else json.dumps(claim, separators=(",", ":"))
    if not text.isprintable():
        raise ValueError("a claim holds control characters")
    return text.strip(" ").encode()


def invalid(reason: str) -> Refused:
    """401 for a token that does not do (RFC 6750 section 3.1)."""
    return unauthorized('Bearer realm="lbctl", error="invalid_token"', f"the token is refused: {reason}")
