"""What an authenticator is asked and what it answers.

The rule: the cheap methods answer at once; only one that must wait answers with an awaitable. Who asks tests
`isinstance(answer, (Allowed, Refused))` first and makes no task otherwise needless.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lb7.model import Header


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A verified client certificate: its subject (RFC 4514), common name and DNS names."""

    subject: str
    common_name: str = ""
    dns_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """What is known of the client's connection; made once per connection. client is its address without a port."""

    client: str
    listener: str = ""
    scheme: str = "http"
    certificate: ClientCertificate | None = None


@dataclass(frozen=True, slots=True)
class Allowed:
    """The request may pass. remove: header names the backend must not get from the client; then headers are added."""

    user: str = ""
    headers: tuple[Header, ...] = ()
    remove: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer instead: status, headers and body; reason is for the access log."""

    status: int
    reason: str
    headers: tuple[Header, ...] = ()
    body: bytes = b""


Verdict = Allowed | Refused
ALLOWED = Allowed()


class Authenticator(Protocol):
    """One method, ready: files read, keys at hand. headers are the request's, in their order, as bytes."""

    def authenticate(
        self, method: str, host: str, target: str, headers: Sequence[Header], connection: ConnectionInfo
    ) -> Verdict | Awaitable[Verdict]:
        """Whether the request may pass."""
        ...
