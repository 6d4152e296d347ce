"""Basic (RFC 7617) against an htpasswd file.

The rule: hashing that takes milliseconds happens in one thread beside the loop and once for each password: what was
right is remembered by a keyed digest. Wrong ones are not remembered, and only so many may wait.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lb7.auth import htpasswd
from lb7.auth.credentials import of_scheme, only_value
from lb7.auth.model import BasicAuth
from lb7.auth.refusing import unauthorized, undecided
from lb7.auth.verdict import Allowed, ConnectionInfo, Verdict
from lb7.model import Header

REMEMBERED = 4096
WAITING_MAX = 64


class BasicAuthenticator:
    """Asks for a user name and password of a file."""

    def __init__(self, auth: BasicAuth, content: bytes) -> None:
        """content: the htpasswd file's. Raises FileError."""
        self._users = htpasswd.parse(content, auth.file)
        self._decoy = next(iter(self._users.values()))
        self._user_header = auth.user_header.encode("ascii")
        challenge = f'Basic realm="{auth.realm}", charset="UTF-8"'
        self._missing = unauthorized(challenge, "no user name and password")
        self._wrong = unauthorized(challenge, "wrong user name or password")
        self._secret = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._waiting = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="passwords")

    def authenticate(
        self, method: str, host: str, target: str, headers: Sequence[Header], connection: ConnectionInfo
    ) -> Verdict | Awaitable[Verdict]:
        """Whether the password is the user's; an awaitable where it must be hashed slowly first."""
        given = decoded(of_scheme(only_value(headers, b"authorization"), b"basic"))
        if given is None:
            return self._missing
        user, password = given
        stored = self._users.get(user, self._decoy)
        known = user in self._users
        if htpasswd.is_quick(stored):
            return self._verdict(user, htpasswd.fits(password, stored) and known)
        digest = hashlib.blake2b(user.encode() + b":" + password, key=self._secret).digest()
        if known and digest in self._right:
            self._right.move_to_end(digest)
            return self._verdict(user, True)
        if self._waiting >= WAITING_MAX:
            return undecided("too many passwords wait to be checked")
        return self._hashed(user if known else None, password, stored, digest)

    async def _hashed(self, user: str | None, password: bytes, stored: str, digest: bytes) -> Verdict:
        """user None: nobody of that name, who takes as long as anybody."""
        self._waiting += 1
        try:
            fits = await asyncio.get_running_loop().run_in_executor(self._thread, htpasswd.fits, password, stored)
        finally:
            self._waiting -= 1
        if user is None or not fits:
            return self._wrong
        self._right[digest] = None
        if len(self._right) > REMEMBERED:
            self._right.popitem(last=False)
        return self._verdict(user, True)

    def _verdict(self, user: str, right: bool) -> Verdict:
        if not right:
            return self._wrong
        if not self._user_header:
            return Allowed(user)
        return Allowed(user, ((self._user_header, user.encode()),), (self._user_header,))

    def close(self) -> None:
        """Ends the thread once it has checked what waits, without waiting for it."""
        self._thread.shutdown(wait=False)


def decoded(given: bytes | None) -> tuple[str, bytes] | None:
    """User and password of Basic credentials; None where they are malformed."""
    try:
        text = base64.b64decode(given or b"", validate=True)
        user, colon, password = text.partition(b":")
        return (user.decode(), password) if colon and user else None
    except (binascii.Error, UnicodeDecodeError):
        return None
