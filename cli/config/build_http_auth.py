"""From the schema's models of authentication to the frozen values of lb7.

The rule: as in `build_http`. The cheap methods come first: who fails them costs nothing more.
"""

from __future__ import annotations

from pathlib import Path

from cli.config.schema_http_auth import ApiKeyAuthSchema, AuthSchema, BasicAuthSchema, ForwardAuthSchema, JwtAuthSchema
from lb7.auth.model import ApiKeyAuth, Auth, BasicAuth, ForwardAuth, HeaderAuth, JwtAuth, MtlsAuth


def auths(schema: AuthSchema | None, base: Path) -> tuple[Auth, ...]:
    """What a request must show, cheapest first; nothing for `none`."""
    if schema is None:
        return ()
    made: list[Auth] = []
    if schema.header is not None:
        made.append(HeaderAuth(schema.header.name, tuple(schema.header.values)))
    if schema.mtls is not None:
        made.append(MtlsAuth(schema.mtls.header, tuple(schema.mtls.subjects)))
    if schema.api_keys is not None:
        made.append(_api_keys(schema.api_keys, base))
    if schema.jwt is not None:
        made.append(_jwt(schema.jwt, base))
    if schema.basic is not None:
        made.append(_basic(schema.basic, base))
    if schema.forward is not None:
        made.append(_forward(schema.forward))
    return tuple(made)


def _api_keys(schema: ApiKeyAuthSchema, base: Path) -> ApiKeyAuth:
    return ApiKeyAuth(str(base / schema.file), schema.header, schema.user_header or "")


def _basic(schema: BasicAuthSchema, base: Path) -> BasicAuth:
    return BasicAuth(str(base / schema.file), schema.realm, schema.user_header or "")


def _jwt(schema: JwtAuthSchema, base: Path) -> JwtAuth:
    return JwtAuth(
        algorithms=tuple(schema.algorithms),
        keys=str(base / schema.keys) if schema.keys else "",
        jwks_url=schema.jwks_url or "",
        issuer=schema.issuer or "",
        audiences=tuple(schema.audience),
        header=schema.header,
        refresh=schema.refresh,
        leeway=schema.leeway,
        claims=tuple(schema.claims.items()),
    )


def _forward(schema: ForwardAuthSchema) -> ForwardAuth:
    return ForwardAuth(schema.url, schema.timeout, tuple(schema.send), tuple(schema.keep))


def headers_said(auth: Auth) -> tuple[str, ...]:
    """The headers in which a method tells the backend what it found."""
    match auth:
        case BasicAuth() | ApiKeyAuth():
            return (auth.user_header,) if auth.user_header else ()
        case JwtAuth():
            return tuple(header for _, header in auth.claims)
        case ForwardAuth():
            return auth.keep
        case MtlsAuth():
            return (auth.header,)
        case _:
            return ()
