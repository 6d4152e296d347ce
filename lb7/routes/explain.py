"""What a listener would do with a request, in words: which route, what authentication says, what happens then.

The rule: it asks the very route table and the very methods that serve requests, as far as they can be asked without
anybody else: a required header is judged, a password or token only missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lb7.auth.header import HeaderAuthenticator
from lb7.auth.model import ApiKeyAuth, Auth, BasicAuth, ForwardAuth, HeaderAuth, JwtAuth
from lb7.auth.verdict import ConnectionInfo, Refused
from lb7.model import Forward, Header, HttpListener, Match, Redirect, Respond, Rewrite, Route
from lb7.routes.conditions import described, header_value
from lb7.routes.path import TargetError, normalised_target
from lb7.routes.rewriting import location, rewritten_target
from lb7.routes.table import compile_routes


@dataclass(frozen=True, slots=True)
class Request:
    """A request as asked about: scheme `http` or `https`, host with or without a port, target as sent."""

    scheme: str
    method: str
    host: str
    target: str
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What would happen. route None: none matched. forward None: the listener answers itself, with this status."""

    route: Route | None
    forward: Forward | None
    status: int | None
    steps: tuple[str, ...]


def explain(listener: HttpListener, request: Request) -> Outcome:
    """What the listener would do with the request, and the steps to it."""
    try:
        target = normalised_target(request.target)
    except TargetError as error:
        return Outcome(None, None, 400, (f"the target is refused with 400: {error}",))
    route = compile_routes(listener.routes, listener.unmatched).match(
        request.method, request.host, target, request.headers
    )
    found = None if route is listener.unmatched else route
    steps = _arrived(listener, request, target) + _found(route, found)
    for auth in route.auth:
        passes, said = judged(auth, request.headers)
        steps = (*steps, said)
        if not passes:
            return Outcome(found, None, 401, steps)
    return _done(route, found, request, target, steps)


def _arrived(listener: HttpListener, request: Request, target: str) -> tuple[str, ...]:
    first = f"listener {listener.name} takes it{', ending TLS' if listener.tls else ''}"
    return (first, f"its target {request.target} is read as {target}") if target != request.target else (first,)


def _found(route: Route, found: Route | None) -> tuple[str, ...]:
    if found is None:
        return ("no route matches",)
    return (f"route {called(route)} is the first that matches: {described(route.match)}",)


def called(route: Route) -> str:
    """A route by its number, and its name where it has one of its own."""
    return str(route.number) if route.name == str(route.number) else f"{route.number} ({route.name})"


def _done(route: Route, found: Route | None, request: Request, target: str, steps: tuple[str, ...]) -> Outcome:
    action = route.action
    if isinstance(action, Redirect):
        where = location(action, route.match, request.scheme, request.host, target)
        return Outcome(found, None, action.status, (*steps, f"redirected with {action.status} to {where}"))
    if isinstance(action, Respond):
        return Outcome(found, None, action.status, (*steps, f"answered with {action.status}, without any backend"))
    return Outcome(found, action, None, (*steps, *_rewritten(action.rewrite, route.match, target)))


def _rewritten(rewrite: Rewrite, match: Match, target: str) -> tuple[str, ...]:
    path = rewritten_target(rewrite, match, target)
    told = [] if path == target else [f"the backend is asked for {path}"]
    return tuple(told if rewrite.host is None else [*told, f"the backend is asked as {rewrite.host}"])


def judged(auth: Auth, headers: Sequence[Header]) -> tuple[bool, str]:
    """Whether the request may pass as far as that can be told here, and why."""
    if isinstance(auth, HeaderAuth):
        verdict = HeaderAuthenticator(auth).authenticate("", "", "", headers, ConnectionInfo(""))
        refused = isinstance(verdict, Refused)
        return not refused, f"{verdict.reason}: 401" if isinstance(verdict, Refused) else f"it has {auth.header}"
    if isinstance(auth, ForwardAuth):
        return True, f"{auth.url} is asked whether it may go on"
    wanted, header = _credentials(auth)
    if header and not (header_value(headers, header.lower().encode()) or "").strip():
        return False, f"{header} is missing, where {wanted} is asked for: 401"
    return True, f"{wanted} is asked for, and verified{f' in {header}' if header else ''}"


def _credentials(auth: Auth) -> tuple[str, str]:
    """What a method asks for, and in which header it comes."""
    if isinstance(auth, BasicAuth):
        return f"a name and password of {auth.file}", "Authorization"
    if isinstance(auth, JwtAuth):
        return "a signed token", auth.header
    if isinstance(auth, ApiKeyAuth):
        return f"a key of {auth.file}", auth.header
    return "a client certificate", ""
