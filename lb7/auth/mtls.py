"""A client certificate that the TLS handshake verified.

The rule: the certificate's subject goes to the backend in one header, and nothing that a client wrote there itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from lb7.auth.model import MtlsAuth
from lb7.auth.refusing import forbidden
from lb7.auth.verdict import Allowed, ClientCertificate, ConnectionInfo, Verdict
from lb7.model import Header


class MtlsAuthenticator:
    """Asks for a verified certificate, of one of the subjects where some are named."""

    def __init__(self, auth: MtlsAuth) -> None:
        self._header = auth.header.encode("ascii")
        self._subjects = frozenset(subject.lower() for subject in auth.subjects)
        self._missing = forbidden("no client certificate")

    def authenticate(
        self, method: str, host: str, target: str, headers: Sequence[Header], connection: ConnectionInfo
    ) -> Verdict:
        """Whether the connection's certificate is one that is accepted."""
        certificate = connection.certificate
        if certificate is None:
            return self._missing
        if self._subjects and self._subjects.isdisjoint(names_of(certificate)):
            return forbidden(f"the client certificate of {certificate.subject} is not one of the accepted")
        user = certificate.common_name or certificate.subject
        return Allowed(user, ((self._header, certificate.subject.encode()),), (self._header,))


def names_of(certificate: ClientCertificate) -> frozenset[str]:
    """What a certificate may be called by, in lower case."""
    return frozenset(name.lower() for name in (certificate.common_name, *certificate.dns_names) if name)
