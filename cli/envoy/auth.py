"""Header checks that stand for authentication in Envoy, told by their shape and said as `auth`.

The rule: only what refuses with 401 and asks for one header is taken for authentication; the header must then be
there and, unlike with Envoy's present_match, not empty. Three shapes are known:

- a first route for requests without the header answers 401, and all others follow;
- every route asks for the header, and a last one answers 401 to all that is left;
- a route asks for the header, and the next one, which is the same but for that, answers 401.
"""

from __future__ import annotations

from dataclasses import dataclass

from cli.config.document import Value

Keys = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Guarded:
    """Routes, and the header they all ask for; empty where there is no such shape."""

    routes: list[Keys]
    header: str = ""


def guarded(routes: list[Keys]) -> Guarded:
    """The routes of one virtual host without the checks, and the header that these asked for."""
    if not routes:
        return Guarded(routes)
    header = _absent(routes[0])
    if header:
        return Guarded([_without(route, header) for route in routes[1:]], header)
    if not _is_401(routes[-1]) or routes[-1].get("match"):
        return Guarded(_paired(routes))
    asked = [_present(route) for route in routes[:-1]]
    common = set.intersection(*asked) if asked else set()
    if len(common) != 1:
        return Guarded(_paired(routes))
    header = common.pop()
    kept = [_without(route, header) for route in routes[:-1]]
    return Guarded(kept if any(not route.get("match") for route in kept) else [*kept, routes[-1]], header)


def _paired(routes: list[Keys]) -> list[Keys]:
    """The routes, those that are followed by the same without the header and with 401 having the auth of their own."""
    kept: list[Keys] = []
    asked = ""
    for route in routes:
        if asked and _is_401(route) and route.get("match") == _without(kept[-1], asked).get("match"):
            kept[-1] = _without(kept[-1], asked) | {"auth": {"header": asked}}
            asked = ""
            continue
        names = _present(route)
        asked = names.pop() if len(names) == 1 and "auth" not in route else ""
        kept.append(route)
    return kept


def _is_401(route: Keys) -> bool:
    respond = route.get("respond")
    return isinstance(respond, dict) and respond.get("status") == 401


def _headers(route: Keys) -> dict[str, Value]:
    match = route.get("match")
    headers = match.get("headers") if isinstance(match, dict) else None
    return headers if isinstance(headers, dict) else {}


def _absent(route: Keys) -> str:
    """The one header whose absence this route answers with 401 and asks for nothing else."""
    headers, match = _headers(route), route.get("match")
    alone = isinstance(match, dict) and set(match) == {"headers"} and len(headers) == 1
    name = next(iter(headers), "")
    return name if alone and _is_401(route) and headers[name] == {"present": False} else ""


def _present(route: Keys) -> set[str]:
    return {name for name, test in _headers(route).items() if test in ({"present": True}, {"regex": ".+"})}


def _without(route: Keys, header: str) -> Keys:
    """The route without asking for the header itself."""
    match = route.get("match")
    if not isinstance(match, dict) or _headers(route).get(header) not in ({"present": True}, {"regex": ".+"}):
        return route
    headers = {name: test for name, test in _headers(route).items() if name != header}
    rest = {key: value for key, value in match.items() if key != "headers"} | ({"headers": headers} if headers else {})
    return {key: value for key, value in route.items() if key != "match"} | ({"match": rest} if rest else {})
