"""TLS towards clients and towards backends, as contexts of Python's ssl.

The rule: contexts are made of bytes that were read before, never of files: a worker may read none. The defaults are
what testssl.sh grades A: TLS 1.2 and 1.3, forward secrecy and authenticated encryption alone, no renegotiation.
A new certificate is taken over by `renew`: connections that are open keep theirs.
"""

from __future__ import annotations

import os
import ssl
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from lb4.model import Backend, BackendTls
from lb7.auth.verdict import ClientCertificate
from lb7.files import FileError, Files
from lb7.model import Certificate, ClientCertificates, Tls
from lb7.tls.certificates import Loaded, authorities, load

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
ASKED = {
    ClientCertificates.NONE: ssl.CERT_NONE,
    ClientCertificates.OPTIONAL: ssl.CERT_OPTIONAL,
    ClientCertificates.REQUIRED: ssl.CERT_REQUIRED,
}
SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "domainComponent": "DC",
    "userId": "UID",
}
ESCAPED = frozenset(',+"\\<>;=')


class ServerContext(ssl.SSLContext):
    """What a listener's connections are wrapped in; it can be renewed while it is in use.

    It stands in for the context of the moment, so that a server that was given it once serves the renewed one.
    """

    current: ssl.SSLContext

    def __new__(cls, tls: Tls, files: Files) -> Self:
        """Raises FileError."""
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made.current = server_context(tls, files)
        return made

    def __init__(self, tls: Tls, files: Files) -> None:
        """files: the contents of the files that tls names."""

    def renew(self, tls: Tls, files: Files) -> None:
        """New connections get this; with an error, nothing changes. Raises FileError."""
        self.current = server_context(tls, files)

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """What asyncio and uvloop call for each new connection."""
        return self.current.wrap_bio(*arguments, **named)


def server_context(tls: Tls, files: Files) -> ssl.SSLContext:
    """The context of a listener: the first certificate's, which hands over to another by the name asked for."""
    grouped = _by_names([load(each, files) for each in tls.certificates])
    contexts = [(names, _server_context(tls, loaded, files)) for names, loaded in grouped]
    by_name: dict[str, ssl.SSLContext] = {}
    for names, context in contexts:
        for name in names:
            by_name.setdefault(name, context)
    first = contexts[0][1]
    if len(contexts) > 1:
        first.sni_callback = _chooser(by_name, first)
    return first


def _by_names(loaded: Iterable[Loaded]) -> list[tuple[frozenset[str], list[Loaded]]]:
    """Certificates for the same names with keys of different types are served by one context."""
    groups: dict[frozenset[str], dict[str, Loaded]] = defaultdict(dict)
    for each in loaded:
        groups[each.names].setdefault(each.key_type, each)
    return [(names, list(by_type.values())) for names, by_type in groups.items()]


def _server_context(tls: Tls, loaded: Sequence[Loaded], files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[tls.min_version]
    context.maximum_version = VERSIONS[tls.max_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    _set_ciphers(context, tls.ciphers or CIPHERS)
    context.set_alpn_protocols(list(tls.alpn))
    for each in loaded:
        load_pem(context, each)
    if tls.client_ca:
        context.load_verify_locations(cadata=authorities(files[tls.client_ca], tls.client_ca))
    context.verify_mode = ASKED[tls.client_certificates]
    return context


def _set_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError:
        raise FileError("ciphers", f"{ciphers!r} selects no cipher suite that OpenSSL knows") from None


def _chooser(by_name: Mapping[str, ssl.SSLContext], first: ssl.SSLContext) -> Any:
    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        chosen = context_for(name, by_name)
        if chosen is not None and chosen is not first:
            connection.context = chosen

    return choose


def context_for(name: str | None, by_name: Mapping[str, ssl.SSLContext]) -> ssl.SSLContext | None:
    """The context for a server name: of the very name, or of the wildcard one label above (RFC 6125 section 6.4.3)."""
    if not name:
        return None
    lower = name.lower().rstrip(".")
    return by_name.get(lower) or by_name.get("*." + lower.partition(".")[2])


def load_pem(context: ssl.SSLContext, loaded: Loaded) -> None:
    """Gives the context a chain and key; OpenSSL's interface wants a file, so it gets one in memory.

    Raises FileError where OpenSSL refuses them, as for a key that is too short.
    """
    descriptor = os.memfd_create("lbctl-certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, loaded.pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except ssl.SSLError as error:
        raise FileError(loaded.file, f"is refused by OpenSSL: {error.reason or error}") from None
    finally:
        os.close(descriptor)


def backend_context(tls: BackendTls, files: Files, alpn: Sequence[str] = ("http/1.1",)) -> ssl.SSLContext:
    """The context of connections to the backends of a service; alpn: the protocols offered. Raises FileError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca:
        context.load_verify_locations(cadata=authorities(files[tls.ca], tls.ca))
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if tls.cert:
        load_pem(context, load(Certificate(tls.cert, tls.key), files))
    return context


def backend_server_name(tls: BackendTls, backend: Backend) -> str:
    """The name asked for and expected in the certificate: the configured one, the DNS name, or the address."""
    return tls.server_name or backend.name or str(backend.endpoint.ip)


def client_certificate(found: Mapping[str, Any] | None) -> ClientCertificate | None:
    """The verified certificate of a client, from what `getpeercert` gives; None where there is none."""
    if not found:
        return None
    pairs = [pair for part in found.get("subject", ()) for pair in part]
    subject = ",".join(f"{SHORT.get(key, key)}={escaped(value)}" for key, value in reversed(pairs))
    common = next((value for key, value in pairs if key == "commonName"), "")
    names = tuple(value for kind, value in found.get("subjectAltName", ()) if kind == "DNS")
    return ClientCertificate(subject, common, names)


def escaped(value: str) -> str:
    """An attribute value as RFC 4514 section 2.4 writes it, control characters as hex: it goes in a header."""
    text = "".join(
        f"\\{c}" if c in ESCAPED else c if c.isprintable() else "".join(f"\\{b:02X}" for b in c.encode()) for c in value
    )
    if text.startswith((" ", "#")):
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") else text
