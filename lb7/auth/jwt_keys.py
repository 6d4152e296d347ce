"""The keys that tokens are verified with, from a file or a fetched key set.

The rule: a key verifies only with algorithms of its own kind (RFC 8725 section 3.1): what a token's head says picks
among what the configuration and the key allow both, and never widens that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from lb7.auth.model import Algorithm
from lb7.files import FileError

SECRET_MIN = 32
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
USELESS = frozenset(("enc",))


@dataclass(frozen=True, slots=True)
class Key:
    """A key, its id where it has one, and the algorithms it may be used with."""

    id: str | None
    algorithms: tuple[str, ...]
    key: Any


def keys_of_file(content: bytes, file: str, wanted: Sequence[Algorithm]) -> tuple[Key, ...]:
    """The keys of a file: a key set, PEM, or the secret itself for HS algorithms. Raises FileError."""
    secret = [algorithm.value for algorithm in wanted if algorithm.startswith("HS")]
    if content.lstrip()[:1] == b"{":
        found = keys_of_set(_document(content, file), wanted)
    elif b"-----BEGIN" in content:
        found = () if secret else (_pem(content, file, wanted),)
    else:
        found = (_secret(content.strip(), file, secret),) if secret else ()
    usable = tuple(key for key in found if key.algorithms)
    if not usable:
        raise FileError(file, f"holds no key for {', '.join(wanted)}; it is a PEM file or a JSON Web Key Set")
    return usable


def keys_of_set(document: object, wanted: Sequence[Algorithm]) -> tuple[Key, ...]:
    """The usable keys of a JSON Web Key Set (RFC 7517); what is not understood is left out, as section 5 asks."""
    listed = document.get("keys", [document]) if isinstance(document, dict) else None
    entries = listed if isinstance(listed, list) else []
    made = (_entry(entry, wanted) for entry in entries if isinstance(entry, dict) and entry.get("use") not in USELESS)
    return tuple(key for key in made if key is not None and key.algorithms)


def _entry(entry: Mapping[str, Any], wanted: Sequence[Algorithm]) -> Key | None:
    try:
        made = PyJWK(dict(entry))
    except (PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    declared = entry.get("alg")
    fitting = algorithms_of(made.key, wanted)
    named = entry.get("kid")
    allowed = fitting if declared is None else tuple(name for name in fitting if name == declared)
    return Key(named if isinstance(named, str) else None, allowed, made.key)


def algorithms_of(key: object, wanted: Sequence[Algorithm]) -> tuple[str, ...]:
    """The algorithms of those wanted that a key of this kind may be used with."""
    if isinstance(key, rsa.RSAPublicKey):
        return tuple(each.value for each in wanted if each[:2] in ("RS", "PS"))
    if isinstance(key, ec.EllipticCurvePublicKey):
        return tuple(each.value for each in wanted if each.value == CURVES.get(key.curve.name))
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return tuple(each.value for each in wanted if each is Algorithm.EDDSA)
    return tuple(each.value for each in wanted if each.startswith("HS")) if isinstance(key, bytes) else ()


def _document(content: bytes, file: str) -> object:
    try:
        return json.loads(content)
    except ValueError as error:
        raise FileError(file, f"is not JSON: {error}") from None


def _pem(content: bytes, file: str, wanted: Sequence[Algorithm]) -> Key:
    try:
        if b"CERTIFICATE" in content:
            key: object = load_pem_x509_certificate(content).public_key()
        elif b"PRIVATE" in content:
            key = load_pem_private_key(content, None).public_key()
        else:
            key = load_pem_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FileError(file, f"holds no key that can be read: {error}") from None
    return Key(None, algorithms_of(key, wanted), key)


def _secret(content: bytes, file: str, algorithms: Sequence[str]) -> Key:
    if len(content) < SECRET_MIN:
        raise FileError(file, f"holds a secret of {len(content)} bytes; RFC 7518 asks for at least {SECRET_MIN}")
    return Key(None, tuple(algorithms), content)
