"""What certificate files hold: their names, how long they are valid, whether the key is theirs.

The rule: every error names the file and what is wrong in it, so that it can be told before anything is served.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from lb7.files import FileError, Files
from lb7.model import Certificate

SOON = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A certificate that can be served: its DNS names and addresses in lower case, and PEM of chain and key."""

    file: str
    names: frozenset[str]
    key_type: str
    pem: bytes
    not_before: datetime
    not_after: datetime


def load(certificate: Certificate, files: Files) -> Loaded:
    """The certificate and key of two files. Raises FileError."""
    chain = _chain(files[certificate.cert], certificate.cert)
    key = _key(files[certificate.key], certificate.key)
    leaf = chain[0]
    if _public(leaf) != _bytes(key):
        raise FileError(
            certificate.key, f"is not the key of {certificate.cert}, whose first certificate is {_of(leaf)}"
        )
    pem = files[certificate.cert].rstrip() + b"\n" + files[certificate.key]
    names = frozenset(name.lower() for name in _names(leaf))
    return Loaded(certificate.cert, names, type(key).__name__, pem, leaf.not_valid_before_utc, leaf.not_valid_after_utc)


def complaints(loaded: Loaded, now: datetime) -> Iterator[str]:
    """What clients will not like of a certificate that can be served; one line each."""
    if now > loaded.not_after:
        yield f"{loaded.file}: expired on {loaded.not_after:%Y-%m-%d}"
    elif now > loaded.not_after - SOON:
        yield f"{loaded.file}: expires on {loaded.not_after:%Y-%m-%d}"
    if now < loaded.not_before:
        yield f"{loaded.file}: not valid before {loaded.not_before:%Y-%m-%d}"
    if not loaded.names:
        yield f"{loaded.file}: has no subject alternative name; today's clients refuse it"


def now() -> datetime:
    """The time that certificates are judged by."""
    return datetime.now(UTC)


def authorities(content: bytes, file: str) -> str:
    """The PEM certificates of a file of authorities. Raises FileError."""
    _chain(content, file)
    return content.decode("ascii", "replace")


def _chain(content: bytes, file: str) -> list[x509.Certificate]:
    if b"-----BEGIN CERTIFICATE" not in content:
        what = "a key" if b"PRIVATE KEY" in content else "no certificate"
        raise FileError(file, f"holds {what}, not a certificate in PEM (-----BEGIN CERTIFICATE-----)")
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise FileError(file, f"holds a certificate that cannot be read: {error}") from None


def _key(content: bytes, file: str) -> object:
    if b"PRIVATE KEY-----" not in content:
        what = "a certificate" if b"CERTIFICATE" in content else "nothing of the kind"
        raise FileError(file, f"holds {what}, not a private key in PEM (-----BEGIN PRIVATE KEY-----)")
    try:
        return load_pem_private_key(content, None)
    except TypeError:
        raise FileError(file, "the key has a passphrase; write it without: openssl pkey -in FILE -out NEW") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FileError(file, f"holds a key that cannot be read: {error}") from None


def _public(leaf: x509.Certificate) -> bytes:
    return leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _bytes(key: object) -> bytes:
    public: bytes = key.public_key().public_bytes(  # type: ignore[attr-defined]
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return public


def _of(leaf: x509.Certificate) -> str:
    return leaf.subject.rfc4514_string() or "without a subject"


def _names(leaf: x509.Certificate) -> Iterator[str]:
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    yield from alternatives.get_values_for_type(x509.DNSName)
    yield from map(str, alternatives.get_values_for_type(x509.IPAddress))
