"""API keys in a header, against a file of their hashes.

The rule: the file holds SHA-256 alone; an API key is long and random, so a fast hash is enough. Keys are found by
their hash, so time tells nothing of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from lb7.auth.credentials import only_value
from lb7.auth.header import challenge_of
from lb7.auth.model import ApiKeyAuth
from lb7.auth.refusing import unauthorized
from lb7.auth.verdict import Allowed, ConnectionInfo, Verdict
from lb7.files import FileError
from lb7.model import Header

LINE = re.compile(r"([^:\s][^:]*):([0-9a-fA-F]{64})")


class ApiKeyAuthenticator:
    """Asks for a key whose hash is in a file."""

    def __init__(self, auth: ApiKeyAuth, content: bytes) -> None:
        """content: the file's. Raises FileError."""
        self._names = parse(content, auth.file)
        self._header = auth.header.lower().encode("ascii")
        self._user_header = auth.user_header.encode("ascii")
        self._missing = unauthorized(challenge_of(auth.header), f"{auth.header} is missing")
        self._wrong = unauthorized(challenge_of(auth.header), f"{auth.header} is no known key")

    def authenticate(
        self, method: str, host: str, target: str, headers: Sequence[Header], connection: ConnectionInfo
    ) -> Verdict:
        """Whether the header holds a key of the file."""
        key = only_value(headers, self._header)
        if key is None:
            return self._missing
        if self._header == b"authorization":
            key = key.removeprefix(b"Bearer ")
        name = self._names.get(hashlib.sha256(key).digest())
        if name is None:
            return self._wrong
        if not self._user_header:
            return Allowed(name)
        return Allowed(name, ((self._user_header, name.encode()),), (self._user_header,))


def parse(content: bytes, file: str) -> dict[bytes, str]:
    """The name of each key, by hash. Raises FileError."""
    names: dict[bytes, str] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = LINE.fullmatch(line.strip())
        if found is None:
            reason = "is not NAME:SHA256 in hex; write it with printf %s KEY | sha256sum"
            raise FileError(file, f"line {number} {reason}")
        names[bytes.fromhex(found[2])] = found[1]
    if not names:
        raise FileError(file, "holds no keys; its lines are NAME:SHA256 in hex")
    return names
