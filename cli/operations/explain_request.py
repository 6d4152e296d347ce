"""`explain http`: what would happen to a request, by the routes that are in force.

The rule: the listener's own route table decides; nothing is sent and nobody is asked whether the client may.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import SplitResult, urlsplit

from cli.config.model import Configuration
from cli.operations.documents import CandidateDocument, ExplainDocument
from cli.operations.error import OperationError
from lb4.address import AddressError, parse_ip
from lb4.model import Balancer
from lb7.auth.model import ApiKeyAuth, Auth, BasicAuth, ForwardAuth, HeaderAuth, JwtAuth
from lb7.conditions import described
from lb7.model import Forward, Header, HttpListener, Redirect, Route
from lb7.path import TargetError, normalised_target
from lb7.routing import compile_routes

PORTS = {"http": 80, "https": 443}


def explain_request(
    configuration: Configuration, balancer: Balancer, method: str, url: str, headers: Sequence[str]
) -> ExplainDocument:
    """The document for a request of that method and URL. Raises OperationError."""
    asked = _url(url)
    listener = _listener(configuration, asked)
    if listener is None:
        return _passed(f"no listener of mode http has port {_port(asked)}")
    try:
        target = normalised_target((asked.path or "/") + (f"?{asked.query}" if asked.query else ""))
    except TargetError as error:
        return _answer(listener, None, [f"the path is refused with 400: {error}"])
    table = compile_routes(listener.routes, listener.unmatched)
    route = table.match(method.upper(), asked.netloc, target, [_header(text) for text in headers])
    return _routed(listener, balancer, route, target)


def _routed(listener: HttpListener, balancer: Balancer, route: Route, target: str) -> ExplainDocument:
    told = [f"listener {listener.listener.name} takes it; its target is {target}"]
    if route is listener.unmatched:
        told.append("no route matches")
    else:
        told.append(f"route {route.number} ({route.name}) is the first that matches: {described(route.match)}")
    told += [f"first {_asked(auth)}" for auth in route.auth]
    action = route.action
    if not isinstance(action, Forward):
        what = "redirects to another URL" if isinstance(action, Redirect) else "answers by itself"
        return _answer(listener, route, [*told, f"it {what} with {action.status}"])
    candidates = [*_candidates(action, balancer)]
    told += [f"service {s.service} picks by {balancer.services[s.service].scheduler}" for s in action.services]
    document = _answer(listener, route, told)
    document["service"] = action.services[0].service if len(action.services) == 1 else None
    if not candidates:
        return {**document, "verdict": "respond", "steps": [*told, "no backend is usable: it answers with 503"]}
    only = candidates[0]["backend"] if len(candidates) == 1 else None
    return {**document, "verdict": "forward", "backend": only, "candidates": candidates}


def _candidates(action: Forward, balancer: Balancer) -> Iterator[CandidateDocument]:
    """The usable backends of each service, by the services' shares and their own weights."""
    shares = sum(share.weight for share in action.services)
    for share in action.services:
        eligible = balancer.services[share.service].eligible()
        weights = sum(backend.weight for backend in eligible)
        for backend in eligible:
            probability = share.weight / shares * backend.weight / weights if shares else 0.0
            yield {"backend": str(backend), "probability": probability}


def _asked(auth: Auth) -> str:
    """What an authentication wants of the request."""
    if isinstance(auth, HeaderAuth):
        wanted = f" with {' or '.join(auth.values)}" if auth.values else ""
        return f"header {auth.header} must be there and not empty{wanted}, else 401"
    if isinstance(auth, BasicAuth):
        return f"a name and password of {auth.file} are asked for, else 401"
    if isinstance(auth, JwtAuth):
        return f"a token in {auth.header} is verified, else 401"
    if isinstance(auth, ApiKeyAuth):
        return f"a key of {auth.file} in {auth.header} is asked for, else 401"
    if isinstance(auth, ForwardAuth):
        return f"{auth.url} is asked whether it may go on"
    return "a verified client certificate is asked for"


def _answer(listener: HttpListener, route: Route | None, steps: list[str]) -> ExplainDocument:
    return {
        "verdict": "respond",
        "listener": listener.listener.name,
        "service": None,
        "backend": None,
        "candidates": [],
        "steps": steps,
        "route": None if route is None or route is listener.unmatched else route.name,
    }


def _passed(why: str) -> ExplainDocument:
    return {
        "verdict": "pass",
        "listener": None,
        "service": None,
        "backend": None,
        "candidates": [],
        "steps": [why],
        "route": None,
    }


def _listener(configuration: Configuration, asked: SplitResult) -> HttpListener | None:
    """The HTTP listener at the URL's port, and at its address where it has one and not a name."""
    port, host = _port(asked), asked.hostname or ""
    try:
        address = parse_ip(host)
    except AddressError:
        address = None
    for name in sorted(configuration.http.listeners):
        listener = configuration.http.listeners[name]
        for bind in listener.listener.binds:
            here = address is None or bind.ip == address or (bind.is_wildcard and bind.ip.version == address.version)
            if here and bind.first <= port <= bind.last:
                return listener
    return None


def _url(url: str) -> SplitResult:
    try:
        asked = urlsplit(url)
        _ = asked.port
    except ValueError as error:
        raise OperationError(f"{url!r} is no URL: {error}", exit=2) from None
    if asked.scheme not in PORTS or not asked.hostname:
        raise OperationError(f"{url!r} is no URL of http or https; write https://api.example.org/ping", exit=2)
    return asked


def _port(asked: SplitResult) -> int:
    return asked.port or PORTS[asked.scheme]


def _header(text: str) -> Header:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise OperationError(f"{text!r} is no header; write 'NAME: VALUE'", exit=2)
    return name.strip().encode(), value.strip().encode()
