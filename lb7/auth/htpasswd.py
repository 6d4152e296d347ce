"""The password file of Basic: htpasswd's lines, and whether a password fits one.

The rule: hashing is left to bcrypt and passlib; a hash that neither knows is an error when the file is read, never a
user who cannot log in.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from hmac import compare_digest

from lb7.files import FileError

BCRYPT = re.compile(r"\$2[aby]\$(?:0[4-9]|1[0-9])\$[./A-Za-z0-9]{53}")
SHA1 = re.compile(r"\{SHA\}[A-Za-z0-9+/]{27}=")
CRYPT = {
    "$apr1$": re.compile(r"\$apr1\$[./A-Za-z0-9]{0,8}\$[./A-Za-z0-9]{22}"),
    "$5$": re.compile(r"\$5\$(rounds=[0-9]{4,9}\$)?[./A-Za-z0-9]{0,16}\$[./A-Za-z0-9]{43}"),
    "$6$": re.compile(r"\$6\$(rounds=[0-9]{4,9}\$)?[./A-Za-z0-9]{0,16}\$[./A-Za-z0-9]{86}"),
}
BCRYPT_MAX = 72
ADVICE = "write it with htpasswd -B"


def parse(content: bytes, file: str) -> dict[str, str]:
    """The hash of each user. Raises FileError."""
    users: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        user, colon, stored = line.partition(":")
        stored = stored.split(":")[0].strip()
        if not colon or not user:
            raise FileError(file, f"line {number} is not USER:HASH; {ADVICE}")
        if not _known(stored):
            raise FileError(file, f"line {number}: the password of {user} is hashed in no way known here; {ADVICE}")
        users.setdefault(user, stored)
    if not users:
        raise FileError(file, f"holds no users; {ADVICE}")
    return users


def is_quick(stored: str) -> bool:
    """Whether checking takes microseconds."""
    return stored.startswith("{SHA}")


def fits(password: bytes, stored: str) -> bool:
    """Whether the password is the one that was hashed. What is not quick takes from 1 to some 100 milliseconds."""
    if is_quick(stored):
        return compare_digest(base64.b64encode(hashlib.sha1(password).digest()).decode(), stored[5:])
    if b"\0" in password:
        return False
    return _bcrypt(password, stored) if stored.startswith("$2") else _crypt(password, stored)


def _known(stored: str) -> bool:
    patterns = (BCRYPT, SHA1, *CRYPT.values())
    return any(pattern.fullmatch(stored) for pattern in patterns)


def _bcrypt(password: bytes, stored: str) -> bool:
    import bcrypt

    return bcrypt.checkpw(password[:BCRYPT_MAX], stored.encode("ascii"))


def _crypt(password: bytes, stored: str) -> bool:
    from passlib.hash import apr_md5_crypt, sha256_crypt, sha512_crypt

    scheme: Mapping[str, object] = {"$apr1$": apr_md5_crypt, "$5$": sha256_crypt, "$6$": sha512_crypt}
    handler = next(handler for start, handler in scheme.items() if stored.startswith(start))
    return bool(handler.verify(password, stored))  # type: ignore[attr-defined]
