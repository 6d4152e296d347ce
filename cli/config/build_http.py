"""From the schema's models of mode `http` to the frozen values of lb7.

The rule: as in `build`: one function for each value, and nothing is judged here. What a listener says for all its
routes is merged into each of them; files are named as seen from the directory of the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cli.config.build_http_auth import auths, headers_said
from cli.config.schema import FileSchema, LimitsSchema
from cli.config.schema_http import (
    AccessLogSchema,
    EjectionSchema,
    HeaderChangesSchema,
    HeadersSchema,
    HttpListenerKeys,
    HttpServiceKeys,
    MatchSchema,
    RedirectSchema,
    RespondSchema,
    RetriesSchema,
    RouteSchema,
    TimeoutKeys,
    TlsSchema,
    ValueMatchSchema,
)
from lb4.model import Listener, Mode, Service
from lb7.auth.model import Auth
from lb7.model import (
    AccessLog,
    Action,
    Certificate,
    ClientCertificates,
    Ejection,
    Forward,
    Header,
    HeaderChanges,
    HttpBalancer,
    HttpLimits,
    HttpListener,
    HttpService,
    KeptConnections,
    Match,
    Redirect,
    Respond,
    Retries,
    Rewrite,
    Route,
    Timeouts,
    Tls,
    ValueMatch,
    ValueTest,
    WeightedService,
    no_route,
)

FALLBACK_NAME = "service"
DEFAULT_TIMEOUTS = Timeouts()
DEFAULT_RETRIES = Retries()


def balancer(
    schema: FileSchema, listeners: Mapping[str, Listener], services: Mapping[str, Service], base: Path
) -> HttpBalancer:
    """All that layer 7 serves; base is the directory that file names are relative to."""
    served = {name: item for name, item in schema.listeners.items() if listeners[name].mode is Mode.HTTP}
    named = {service for item in served.values() for _, service in item.named_services()}
    return HttpBalancer(
        listeners={name: listener(listeners[name], item, item.limits, base) for name, item in served.items()},
        services={name: service(services[name], schema.services[name]) for name in services if name in named},
    )


def listener(common: Listener, schema: HttpListenerKeys, bounds: LimitsSchema | None, base: Path) -> HttpListener:
    """A listener of mode `http`."""
    standard = auths(schema.auth, base)
    return HttpListener(
        listener=common,
        routes=unforgeable(routes(schema, common.service, base)),
        unmatched=replace(no_route(standard), response_headers=changes(schema.headers, None, "response")),
        tls=None if schema.tls is None else tls(schema.tls, base),
        limits=HttpLimits() if bounds is None else limits(bounds),
        trusted_proxies=tuple(schema.trusted_proxies),
        access_log=AccessLog() if schema.access_log is None else access_log(schema.access_log, base),
        request_id_header=schema.request_id or "X-Request-Id",
        forwarded=schema.forwarded,
    )


def routes(schema: HttpListenerKeys, fallback: str = "", base: Path | None = None) -> tuple[Route, ...]:
    """A listener's routes in their order; last, where there is one, the service for all that they leave."""
    root = base or Path()
    standard = auths(schema.auth, root)
    made = [route(schema, item, number, standard, root) for number, item in enumerate(schema.routes, 1)]
    if fallback:
        rest = RouteSchema(name=FALLBACK_NAME if schema.routes else None, service=fallback)
        made.append(route(schema, rest, len(made) + 1, standard, root))
    return tuple(made)


def unforgeable(made: tuple[Route, ...]) -> tuple[Route, ...]:
    """The routes, none of which lets a client write a header by which another's authentication tells who it is."""
    said = {header for each in made for auth in each.auth for header in headers_said(auth)}
    return tuple(_without(each, said - {h for auth in each.auth for h in headers_said(auth)}) for each in made)


def _without(made: Route, headers: set[str]) -> Route:
    if not headers:
        return made
    changed = made.request_headers
    removed = (*changed.remove, *(name.encode("ascii") for name in sorted(headers)))
    return replace(made, request_headers=replace(changed, remove=removed))


def route(
    listener: HttpListenerKeys, schema: RouteSchema, number: int, standard: tuple[Auth, ...], base: Path
) -> Route:
    """One route, complete: with what the listener says for all of them."""
    return Route(
        name=schema.name or str(number),
        number=number,
        match=match(schema.match),
        action=action(schema),
        auth=standard if schema.auth is None else auths(schema.auth, base),
        request_headers=changes(listener.headers, schema.headers, "request"),
        response_headers=changes(listener.headers, schema.headers, "response"),
        timeouts=timeouts(schema.timeouts, timeouts(listener.timeouts, DEFAULT_TIMEOUTS)),
        retries=retries(schema.retries or listener.retries),
        connect=schema.connect,
    )


def match(schema: MatchSchema) -> Match:
    """What a route matches."""
    return Match(
        hosts=tuple(schema.host),
        path=schema.path or "",
        path_prefix=schema.path_prefix or "",
        path_regex=schema.path_regex or "",
        methods=tuple(schema.methods),
        headers=tuple(value(name.lower(), wanted) for name, wanted in schema.headers.items()),
        query=tuple(value(name, wanted) for name, wanted in schema.query.items()),
    )


def value(name: str, schema: ValueMatchSchema) -> ValueMatch:
    """How one header or query parameter must be."""
    if schema.exact is not None:
        return ValueMatch(name, ValueTest.EXACT, schema.exact)
    if schema.prefix is not None:
        return ValueMatch(name, ValueTest.PREFIX, schema.prefix)
    if schema.regex is not None:
        return ValueMatch(name, ValueTest.REGEX, schema.regex)
    return ValueMatch(name, ValueTest.ABSENT if schema.present is False else ValueTest.PRESENT)


def action(schema: RouteSchema) -> Action:
    """What happens on a route."""
    if schema.redirect is not None:
        return redirect(schema.redirect)
    if schema.respond is not None:
        return respond(schema.respond)
    shares = schema.split or {schema.service or "": 1}
    rewrite = Rewrite() if schema.rewrite is None else Rewrite(schema.rewrite.path_prefix, schema.rewrite.host)
    return Forward(tuple(WeightedService(name, weight) for name, weight in shares.items()), rewrite)


def redirect(schema: RedirectSchema) -> Redirect:
    """A redirect."""
    return Redirect(
        status=schema.status,
        scheme=schema.scheme,
        host=schema.host,
        port=schema.port,
        path=schema.path,
        path_prefix=schema.path_prefix,
        keep_query=schema.query,
    )


def respond(schema: RespondSchema) -> Respond:
    """An answer without a backend."""
    return Respond(schema.status, fields(schema.headers), schema.body.encode())


def fields(named: Mapping[str, str]) -> tuple[Header, ...]:
    """Header fields as they go over the wire."""
    return tuple((name.encode("ascii"), text.encode()) for name, text in named.items())


def changes(listener: HeadersSchema | None, own: HeadersSchema | None, direction: str) -> HeaderChanges:
    """The listener's changes in one direction (`request` or `response`) and then the route's own."""
    both = [each for each in (_direction(listener, direction), _direction(own, direction)) if each is not None]
    replaced = {name.lower(): (name, text) for each in both for name, text in each.set.items()}
    return HeaderChanges(
        set=fields(dict(replaced.values())),
        add=tuple(field for each in both for field in fields(each.add)),
        remove=tuple(dict.fromkeys(name.encode("ascii") for each in both for name in each.remove)),
    )


def _direction(schema: HeadersSchema | None, direction: str) -> HeaderChangesSchema | None:
    if schema is None:
        return None
    return schema.request if direction == "request" else schema.response


def timeouts(schema: TimeoutKeys | None, standard: Timeouts) -> Timeouts:
    """The timeouts that are named, and the standard ones for the rest."""
    named = schema or TimeoutKeys()
    return Timeouts(
        connect=standard.connect if named.connect is None else named.connect,
        first_byte=standard.first_byte if named.first_byte is None else named.first_byte,
        idle=standard.idle if named.idle is None else named.idle,
        request=standard.request if named.request is None else named.request,
    )


def retries(schema: RetriesSchema | None) -> Retries:
    """When a request is tried again."""
    if schema is None:
        return DEFAULT_RETRIES
    return Retries(attempts=schema.attempts, on=tuple(map(str, schema.on)), budget=schema.budget)


def tls(schema: TlsSchema, base: Path) -> Tls:
    """TLS towards clients."""
    asked = schema.client_certificates or ("required" if schema.client_ca else "none")
    return Tls(
        certificates=tuple(Certificate(str(base / c.cert), str(base / c.key)) for c in schema.certificates),
        min_version=schema.min_version,
        ciphers=schema.ciphers or "",
        alpn=tuple(schema.alpn),
        client_ca=str(base / schema.client_ca) if schema.client_ca else "",
        client_certificates=ClientCertificates(asked),
    )


def limits(schema: LimitsSchema) -> HttpLimits:
    """What one client may ask."""
    named = {key: getattr(schema, key) for key in HttpLimits.__slots__}
    return replace(HttpLimits(), **{key: bound for key, bound in named.items() if bound is not None})


def access_log(schema: AccessLogSchema, base: Path) -> AccessLog:
    """Where one line for each request goes."""
    return AccessLog(schema.to if schema.to in ("stdout", "off") else str(base / schema.to), schema.format)


def service(common: Service, schema: HttpServiceKeys) -> HttpService:
    """A service and what only HTTP asks of it."""
    kept = schema.kept_connections
    return HttpService(
        service=common,
        ejection=ejection(schema.ejection),
        kept=KeptConnections() if kept is None else KeptConnections(kept.max_idle, kept.idle_timeout),
    )


def ejection(schema: EjectionSchema | None) -> Ejection | None:
    """When failing backends are left out."""
    if schema is None:
        return None
    return Ejection(failures=schema.failures, duration=schema.duration, max_fraction=schema.max_fraction)
