"""What the keys of mode `http` mean together: conflicts inside routes, and routes that can never match.

The rule: as in `rules`, of which this is the part about mode `http`.
"""

from __future__ import annotations

from collections.abc import Iterator

from cli.config.build_http import routes
from cli.config.errors import KeyPath, Problem, listed, meant
from cli.config.schema_http import (
    AccessLogSchema,
    HeaderChangesSchema,
    HttpListenerKeys,
    MatchSchema,
    RouteSchema,
    TlsSchema,
    ValueMatchSchema,
)
from cli.config.schema_http_auth import AuthSchema, JwtAuthSchema
from lb7.routes.reachability import unreachable

ACTIONS = ("service", "split", "redirect", "respond")
FORWARDING_KEYS = ("rewrite", "timeouts", "retries")
PATHS = ("path", "path_prefix", "path_regex")
TESTS = ("exact", "prefix", "regex", "present")
SECRETS = ("HS256", "HS384", "HS512")


def http_problems(listener: HttpListenerKeys, path: KeyPath) -> Iterator[Problem]:
    """All conflicts among the keys of mode `http` of one listener."""
    if listener.tls is not None:
        yield from _tls(listener.tls, (*path, "tls"))
    if listener.auth is not None:
        yield from _auth(listener.auth, listener, (*path, "auth"))
    if listener.access_log is not None:
        yield from _access_log(listener.access_log, (*path, "access_log"))
    names: dict[str, int] = {}
    for number, route in enumerate(listener.routes):
        place = (*path, "routes", number)
        yield from _route(route, place)
        if route.auth is not None:
            yield from _auth(route.auth, listener, (*place, "auth"))
        if names.setdefault(route.name or str(number + 1), number) != number:
            yield Problem((*place, "name"), f"the name {route.name} is that of another route; give each its own")


def http_warnings(listener: HttpListenerKeys, path: KeyPath) -> Iterator[Problem]:
    """Routes that no request reaches, because an earlier one takes all of it."""
    for found in unreachable(routes(listener)):
        yield Problem((*path, "routes", found.route.number - 1), str(found))


def _access_log(log: AccessLogSchema, path: KeyPath) -> Iterator[Problem]:
    if log.format == "json":
        return
    # Imported only here: what writes logs is no part of reading a file, but its names are.
    from lb7.access_log import NAMES, PLACEHOLDER, PLACES

    known = (*PLACES, *NAMES)
    for name in PLACEHOLDER.findall(log.format):
        if name not in known:
            said = meant(name, known) or f"; it has {', '.join(known)}"
            yield Problem((*path, "format"), f"the access log has no {name!r}{said}")


def _route(route: RouteSchema, path: KeyPath) -> Iterator[Problem]:
    given = [key for key in ACTIONS if getattr(route, key) is not None]
    if len(given) != 1:
        yield Problem(path, f"a route has one of {listed(ACTIONS)}, not {' and '.join(given) or 'none'}")
    elif given[0] in ("redirect", "respond"):
        yield from _only_forwarding(route, given[0], path)
    if route.split is not None and not any(route.split.values()):
        yield Problem((*path, "split"), "every share is 0: no service takes a request")
    yield from _match(route.match, (*path, "match"))
    replaces = {"rewrite": route.rewrite, "redirect": route.redirect}
    for key, value in replaces.items():
        if route.match.path_regex is not None and value is not None and value.path_prefix is not None:
            reason = "path_regex names no part of the path that path_prefix could replace; match by path_prefix"
            yield Problem((*path, key, "path_prefix"), reason)
    if route.redirect is not None and route.redirect.path is not None and route.redirect.path_prefix is not None:
        yield Problem((*path, "redirect"), "path and path_prefix exclude each other")
    if route.headers is not None:
        yield from _changes(route.headers.request, (*path, "headers", "request"))


def _only_forwarding(route: RouteSchema, action: str, path: KeyPath) -> Iterator[Problem]:
    for key in FORWARDING_KEYS:
        if getattr(route, key) is not None:
            yield Problem((*path, key), f"{action} asks no backend; {key} goes with service or split")
    if route.connect:
        yield Problem((*path, "connect"), f"{action} asks no backend; connect goes with service or split")


def _match(match: MatchSchema, path: KeyPath) -> Iterator[Problem]:
    given = [key for key in PATHS if getattr(match, key) is not None]
    if len(given) > 1:
        yield Problem(path, f"{' and '.join(given)} exclude each other; write one of them")
    for key, values in (("headers", match.headers), ("query", match.query)):
        for name, wanted in values.items():
            yield from _value(wanted, (*path, key, name))


def _value(wanted: ValueMatchSchema, path: KeyPath) -> Iterator[Problem]:
    given = [key for key in TESTS if getattr(wanted, key) is not None]
    if len(given) != 1:
        yield Problem(path, f"write one of {listed(TESTS)}, not {' and '.join(given) or 'none'}")


def _changes(changes: HeaderChangesSchema | None, path: KeyPath) -> Iterator[Problem]:
    if changes is None:
        return
    named = [*((("set", n)) for n in changes.set), *(("add", n) for n in changes.add)]
    for key, name in named:
        if name.lower() == "host":
            yield Problem((*path, key, name), "the Host of a request is changed by rewrite: {host: NAME}")


def _tls(tls: TlsSchema, path: KeyPath) -> Iterator[Problem]:
    asks = tls.client_certificates not in (None, "none")
    if asks and tls.client_ca is None:
        yield Problem(path, f"client_certificates {tls.client_certificates} takes client_ca, the file of authorities")
    if tls.client_certificates == "none" and tls.client_ca is not None:
        yield Problem((*path, "client_ca"), "nobody is asked for a certificate; write client_certificates: optional")


def _auth(auth: AuthSchema, listener: HttpListenerKeys, path: KeyPath) -> Iterator[Problem]:
    if auth.jwt is not None:
        yield from _jwt(auth.jwt, (*path, "jwt"))
    if auth.mtls is not None and (listener.tls is None or listener.tls.client_ca is None):
        yield Problem((*path, "mtls"), "takes tls: {client_ca: FILE} at the listener, which verifies the certificates")


def _jwt(jwt: JwtAuthSchema, path: KeyPath) -> Iterator[Problem]:
    if (jwt.keys is None) == (jwt.jwks_url is None):
        yield Problem(path, "takes one of keys (a file) and jwks_url")
    shared = {algorithm in SECRETS for algorithm in jwt.algorithms}
    if len(shared) > 1:
        reason = "HS algorithms take a shared secret and the others a public key; a public key is no secret"
        yield Problem((*path, "algorithms"), reason)
    elif True in shared and jwt.jwks_url is not None:
        yield Problem((*path, "jwks_url"), "a key set that anybody can fetch holds no secret; write keys: FILE")
