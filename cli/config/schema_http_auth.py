"""The keys under `auth` as pydantic models: one for each method of authentication.

The rule: a mapping with several methods asks for all of them; what is a file is only named here.
"""

# ruff: noqa: RUF012 -- pydantic copies the defaults of its models
from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WrapValidator
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from cli.config.fields import Duration, Keys, Text
from cli.config.fields_http import HeaderName, HttpUrl, listed
from lb7.auth.model import Algorithm


def _named(key: str) -> WrapValidator:
    """A text in place of a mapping stands for this key of it."""

    def wrapped(value: object, mapping: ValidatorFunctionWrapHandler) -> Any:
        return mapping({key: value} if isinstance(value, str) else value)

    return WrapValidator(wrapped, json_schema_input_type=str | dict[str, Any])


class HeaderAuthSchema(Keys):
    """A header that must be there and not empty. A text stands for `name`."""

    name: HeaderName
    """The header."""
    values: list[Text] = []
    """The values that are accepted, compared whole. Empty: every value."""


class BasicAuthSchema(Keys):
    """User name and password (RFC 7617). A text stands for `file`."""

    file: Text
    """An htpasswd file. Passwords hashed with bcrypt (`htpasswd -B`), apr1, SHA-1 (`{SHA}`), SHA-256 and SHA-512
    (`$5$`, `$6$`) are understood."""
    realm: Annotated[str, Field(pattern=r'^[^"\\\x00-\x1f\x7f]{1,200}$')] = "lbctl"
    """What the browser shows."""
    user_header: HeaderName | None = None
    """The header that tells the backend who it is."""


def _algorithm(value: object) -> object:
    if isinstance(value, str) and value in set(Algorithm):
        return Algorithm(value)
    raise ValueError(f"{value!r} is not an algorithm of signatures; write {', '.join(Algorithm)}")


AlgorithmText = Annotated[Algorithm, BeforeValidator(_algorithm)]


class JwtAuthSchema(Keys):
    """A signed token (RFC 7519) in `Authorization: Bearer`."""

    algorithms: Annotated[list[AlgorithmText], Field(min_length=1)]
    """The algorithms of signatures that are accepted, and no other."""
    keys: Text | None = None
    """A file of keys: PEM, a JSON Web Key Set, or for the HS algorithms the secret itself."""
    jwks_url: HttpUrl | None = None
    """Where the JSON Web Key Set is fetched, and fetched again."""
    issuer: Text | None = None
    """The `iss` that is accepted. Without it, any."""
    audience: Annotated[list[Text], BeforeValidator(listed, json_schema_input_type=Text | list[Text])] = []
    """The `aud` that is accepted, or several of which one must be there. Empty: any."""
    header: HeaderName = "Authorization"
    """The header that carries the token; `Bearer` before it is needed in Authorization."""
    refresh: Duration = 300.0
    """How often the key set is fetched again, also at once for an unknown key, though not more often than every 10s."""
    leeway: Duration = 30.0
    """By how much clocks may differ."""
    claims: dict[Text, HeaderName] = {}
    """Claims that the backend gets, each with its header: `{sub: X-User}`."""


class ApiKeyAuthSchema(Keys):
    """A key in a header. A text stands for `file`."""

    file: Text
    """A file of lines `name:sha256-of-the-key`, the hash in hex."""
    header: HeaderName = "X-API-Key"
    """The header."""
    user_header: HeaderName | None = None
    """The header that tells the backend the key's name."""


class ForwardAuthSchema(Keys):
    """Another service decides: a status of 200 to 299 lets the request through, any other answer goes to the client.

    A text stands for `url`.
    """

    url: HttpUrl
    """Where it is asked, by GET, with the request's method and URL in X-Forwarded-Method, -Proto, -Host and -Uri."""
    timeout: Duration = 2.0
    """For its answer; without one, 503."""
    send: list[HeaderName] = []
    """The request headers it gets. Empty: all that are not about the body or the connection."""
    keep: list[HeaderName] = []
    """Headers of its answer that the backend gets, in place of the client's own."""


class MtlsAuthSchema(Keys):
    """A client certificate that `tls.client_ca` verified. `true` takes the defaults."""

    header: HeaderName = "X-Client-Subject"
    """The header that tells the backend its subject."""
    subjects: list[Text] = []
    """The common names or DNS names that are accepted. Empty: every certificate of the authority."""


def _mtls(value: object, mapping: ValidatorFunctionWrapHandler) -> Any:
    return mapping({} if value is True else value)


class AuthSchema(Keys):
    """What a request must show. `none` asks nothing; several methods must all agree."""

    header: Annotated[HeaderAuthSchema, _named("name")] | None = None
    """A header that must be there and not empty."""
    basic: Annotated[BasicAuthSchema, _named("file")] | None = None
    """User name and password, from an htpasswd file."""
    jwt: JwtAuthSchema | None = None
    """A signed token."""
    api_keys: Annotated[ApiKeyAuthSchema, _named("file")] | None = None
    """A key in a header."""
    forward: Annotated[ForwardAuthSchema, _named("url")] | None = None
    """The answer of another service."""
    mtls: Annotated[MtlsAuthSchema, WrapValidator(_mtls, json_schema_input_type=bool | MtlsAuthSchema)] | None = None
    """A client certificate."""


def _none(value: object, mapping: ValidatorFunctionWrapHandler) -> Any:
    if value == "none":
        return AuthSchema.model_construct()
    made = mapping(value)
    if all(getattr(made, name) is None for name in AuthSchema.model_fields):
        # `auth: {header: }` must not let everybody in.
        raise ValueError("names no method; write {header: Authorization}, or none where nothing is asked")
    return made


AuthKeys = Annotated[AuthSchema, WrapValidator(_none, json_schema_input_type=str | AuthSchema)]
