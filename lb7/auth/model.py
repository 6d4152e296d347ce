"""What a configuration may ask of a client, as frozen values: one class a method.

The rule: values and file names only; who reads the files and decides stands beside, one file a method.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Algorithm(StrEnum):
    """The JWS algorithms (RFC 7518 section 3.1, RFC 8037) that a listener may accept; `none` is none of them."""

    HS256 = "HS256"
    HS384 = "HS384"
    HS512 = "HS512"
    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    EDDSA = "EdDSA"


@dataclass(frozen=True, slots=True)
class HeaderAuth:
    """A header that must be there and not empty; with values, one of them exactly."""

    header: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """Basic (RFC 7617) against an htpasswd file; user_header tells the backend who it was."""

    file: str
    realm: str = "lbctl"
    user_header: str = ""


@dataclass(frozen=True, slots=True)
class JwtAuth:
    """A Bearer token (RFC 6750, RFC 7519) signed by a key of a file (PEM, JWK Set) or of a JWK Set URL.

    refresh and leeway in seconds. claims: which claim goes to the backend in which header.
    """

    algorithms: tuple[Algorithm, ...]
    keys: str = ""
    jwks_url: str = ""
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    header: str = "Authorization"
    refresh: float = 300.0
    leeway: float = 30.0
    claims: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ApiKeyAuth:
    """A key in a header, against a file of `name:sha256-of-the-key` lines."""

    file: str
    header: str = "X-API-Key"
    user_header: str = ""


@dataclass(frozen=True, slots=True)
class ForwardAuth:
    """Another service decides: 2xx lets the request through, everything else is the answer. Timeout in seconds.

    send: the request headers it gets (empty: all but those of the body and the hop); keep: headers of its answer
    that go on to the backend, replacing the client's own.
    """

    url: str
    timeout: float = 2.0
    send: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MtlsAuth:
    """A verified client certificate; with subjects, one whose common name or a DNS name is one of them."""

    header: str = "X-Client-Subject"
    subjects: tuple[str, ...] = ()


Auth = HeaderAuth | BasicAuth | JwtAuth | ApiKeyAuth | ForwardAuth | MtlsAuth
