"""Routes that no request can reach, because an earlier route takes all that they match.

The rule: never a false alarm. A route is reported only where one single earlier route surely takes everything of it;
that several together do so is not looked for.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lb7.model import Match, Route, ValueMatch, ValueTest
from lb7.routes.table import literal_segment


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A route and the earlier one that takes all of it."""

    route: Route
    by: Route

    def __str__(self) -> str:
        return f"route {_called(self.route)} can never match: route {_called(self.by)} takes all of it"


def _called(route: Route) -> str:
    return str(route.number) if route.name in (str(route.number), "") else f"{route.number} ({route.name})"


def unreachable(routes: Sequence[Route]) -> tuple[Unreachable, ...]:
    """The routes that can never match, each with the first route that takes all of it."""
    earlier: dict[tuple[str, str], list[tuple[int, Route]]] = defaultdict(list)
    found: list[Unreachable] = []
    for order, route in enumerate(routes):
        above = sorted((pair for key in _keys_above(route.match) for pair in earlier.get(key, ())), key=_order)
        taker = next((other for _, other in above if _covers(other.match, route.match)), None)
        if taker is not None:
            found.append(Unreachable(route, taker))
        earlier[_key(route.match)].append((order, route))
    return tuple(found)


def _order(pair: tuple[int, Route]) -> int:
    return pair[0]


def _key(match: Match) -> tuple[str, str]:
    """Where a route is filed, so that few others have to be compared with it."""
    if match.path:
        return "path", match.path
    if match.path_regex:
        return "regex", literal_segment(match.path_regex)
    return "prefix", match.path_prefix.rstrip("/")


def _keys_above(match: Match) -> Iterator[tuple[str, str]]:
    """Where the routes are filed whose path could cover this one's."""
    kind, value = _key(match)
    if kind == "path":
        yield from (("path", value), ("regex", ""), ("regex", value[1:].partition("/")[0]))
    if kind == "regex":
        yield "regex", value
        value = f"/{value}" if value else ""
    yield from (("prefix", above) for above in _ancestors(value.rstrip("/")))


def _ancestors(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield ""


def _covers(above: Match, below: Match) -> bool:
    """Whether above surely takes every request that below matches."""
    return (
        _covers_path(above, below)
        and _covers_hosts(above.hosts, below.hosts)
        and (not above.methods or (bool(below.methods) and set(below.methods) <= set(above.methods)))
        and all(any(_implies(b, a) for b in below.headers) for a in above.headers)
        and all(any(_implies(b, a) for b in below.query) for a in above.query)
    )


def _covers_path(above: Match, below: Match) -> bool:
    """The paths' own part; prefixes were already compared by where the routes are filed."""
    if above.path_regex:
        if below.path:
            return re.fullmatch(above.path_regex, below.path) is not None
        return above.path_regex == below.path_regex
    return True


def _covers_hosts(above: tuple[str, ...], below: tuple[str, ...]) -> bool:
    return not above or (bool(below) and all(any(_covers_host(a, b) for a in above) for b in below))


def _covers_host(above: str, below: str) -> bool:
    return above == below or (above.startswith("*.") and below.removeprefix("*").endswith(above[1:]))


def _implies(stronger: ValueMatch, weaker: ValueMatch) -> bool:
    """Whether a request that passes stronger surely passes weaker."""
    if stronger == weaker:
        return True
    if stronger.name != weaker.name:
        return False
    if weaker.test is ValueTest.PRESENT:
        return stronger.test is not ValueTest.ABSENT
    if stronger.test is not ValueTest.EXACT:
        return False
    if weaker.test is ValueTest.PREFIX:
        return stronger.value.startswith(weaker.value)
    return weaker.test is ValueTest.REGEX and re.fullmatch(weaker.value, stronger.value) is not None
