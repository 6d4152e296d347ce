"""The route table: the routes of a listener, compiled once, asked for every request.

The rule: the first route of the file that matches takes the request, and looking it up costs the same whatever the
number of routes. Routes are indexed by host, then by exact path, by the segments of path prefixes, and regexes by
the literal segment they start with; of what the indexes give, the smallest number wins. Targets come normalised
(lb7/routes/path.py).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lb7.model import Header, Route
from lb7.routes.conditions import Condition, conditions
from lb7.routes.path import route_key

REMEMBERED_HOSTS = 1024
LITERAL_SEGMENT = re.compile(r"\^?/([A-Za-z0-9_~-]*)/")
END = 1 << 30


@dataclass(frozen=True, slots=True)
class Entry:
    """One route in an index: its place in the file, what it asks beside host and path, and the regex if it has one."""

    order: int
    route: Route
    conditions: tuple[Condition, ...]
    regex: re.Pattern[str] | None = None


Entries = tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class PathIndex:
    """The routes of one host: by path, by prefix (without its last slash; `` is all paths), by regex.

    depth is the number of segments of the longest prefix. regexes: by the literal first segment, `` for those that
    have none; each holds the latter too.
    """

    exact: Mapping[str, Entries]
    prefixes: Mapping[str, Entries]
    depth: int
    regexes: Mapping[str, Entries]

    def find(self, path: str, method: str, query: str, headers: Sequence[Header], best: Entry | None) -> Entry | None:
        """The first route in the file's order that takes the request, or best where that stands before it."""
        if (entries := self.exact.get(path)) is not None:
            best = _first(entries, best, method, query, headers)
        if self.prefixes:
            best = self._by_prefix(path, method, query, headers, best)
        return self._by_regex(path, method, query, headers, best) if self.regexes else best

    def _by_prefix(
        self, path: str, method: str, query: str, headers: Sequence[Header], best: Entry | None
    ) -> Entry | None:
        if (entries := self.prefixes.get("")) is not None:
            best = _first(entries, best, method, query, headers)
        end = 0
        for _ in range(self.depth):
            end = path.find("/", end + 1)
            if (entries := self.prefixes.get(path if end < 0 else path[:end])) is not None:
                best = _first(entries, best, method, query, headers)
            if end < 0:
                break
        return best

    def _by_regex(
        self, path: str, method: str, query: str, headers: Sequence[Header], best: Entry | None
    ) -> Entry | None:
        entries = self.regexes.get(path[1:].partition("/")[0]) or self.regexes[""]
        fitting = tuple(e for e in entries if _before(e, best) and e.regex is not None and e.regex.fullmatch(path))
        return _first(fitting, best, method, query, headers)


def _before(entry: Entry, best: Entry | None) -> bool:
    return best is None or entry.order < best.order


def _first(entries: Entries, best: Entry | None, method: str, query: str, headers: Sequence[Header]) -> Entry | None:
    limit = END if best is None else best.order
    for entry in entries:
        if entry.order >= limit:
            return best
        for condition in entry.conditions:
            if not condition(method, query, headers):
                break
        else:
            return entry
    return best


@dataclass(frozen=True, slots=True)
class RouteTable:
    """What a listener does with requests: `match` gives the route, the unmatched one where none takes it."""

    unmatched: Route
    exact_hosts: Mapping[str, PathIndex]
    wildcards: Mapping[str, PathIndex]
    any_host: PathIndex | None
    _remembered: dict[str, tuple[PathIndex, ...]] = field(default_factory=dict, repr=False, compare=False)

    def match(self, method: str, host: str, target: str, headers: Sequence[Header]) -> Route:
        """The route of a request: host as sent (with or without a port), target normalised, headers in order."""
        path, _, query = target.partition("?")
        if "//" in path:
            path = route_key(path)
        best: Entry | None = None
        for index in self._indexes(host):
            best = index.find(path, method, query, headers, best)
        return self.unmatched if best is None else best.route

    def _indexes(self, host: str) -> tuple[PathIndex, ...]:
        """The indexes that hold routes for the host; the answers for some hosts are kept."""
        if (known := self._remembered.get(host)) is not None:
            return known
        if len(self._remembered) >= REMEMBERED_HOSTS:
            self._remembered.clear()
        self._remembered[host] = found = tuple(self._find_indexes(bare_host(host)))
        return found

    def _find_indexes(self, host: str) -> Iterable[PathIndex]:
        if host in self.exact_hosts:
            yield self.exact_hosts[host]
        for place, character in enumerate(host):
            if character == "." and place and host[place:] in self.wildcards:
                yield self.wildcards[host[place:]]
        if self.any_host is not None:
            yield self.any_host


def bare_host(host: str) -> str:
    """The name alone, in lower case: no port, no dot at the end."""
    name = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    return name.lower().rstrip(".")


def compile_routes(routes: Sequence[Route], unmatched: Route) -> RouteTable:
    """The table of the routes in their order. Regexes that do not compile raise re.error."""
    by_host: dict[str, list[Entry]] = defaultdict(list)
    for order, route in enumerate(routes):
        regex = re.compile(route.match.path_regex) if route.match.path_regex else None
        entry = Entry(order, route, conditions(route.match), regex)
        for host in dict.fromkeys(route.match.hosts or ("",)):
            by_host[host].append(entry)
    indexes = {host: _path_index(entries) for host, entries in by_host.items()}
    exact = {host: index for host, index in indexes.items() if host and not host.startswith("*.")}
    wildcards = {host[1:]: index for host, index in indexes.items() if host.startswith("*.")}
    return RouteTable(unmatched, exact, wildcards, indexes.get(""))


def _path_index(entries: Iterable[Entry]) -> PathIndex:
    exact, prefixes, regexes = defaultdict(list), defaultdict(list), defaultdict(list)
    for entry in entries:
        match = entry.route.match
        if match.path:
            exact[match.path].append(entry)
        elif entry.regex is not None:
            regexes[literal_segment(match.path_regex)].append(entry)
        else:
            prefixes[match.path_prefix.rstrip("/")].append(entry)
    depth = max((prefix.count("/") for prefix in prefixes), default=0)
    return PathIndex(_frozen(exact), _frozen(prefixes), depth, _frozen(_with_unanchored(regexes)))


def _frozen(lists: Mapping[str, list[Entry]]) -> dict[str, Entries]:
    return {key: tuple(entries) for key, entries in lists.items()}


def _with_unanchored(regexes: Mapping[str, list[Entry]]) -> dict[str, list[Entry]]:
    """Each literal segment's regexes together with those that have none, in the file's order."""
    if not regexes:
        return {}
    loose = regexes.get("", [])
    merged = {key: sorted([*entries, *loose], key=lambda e: e.order) for key, entries in regexes.items() if key}
    return {**merged, "": loose}


def literal_segment(pattern: str) -> str:
    """The first path segment that every match of the regex has, or an empty text where that is not plain to see."""
    found = LITERAL_SEGMENT.match(pattern)
    plain = (
        found is not None and "|" not in pattern and "(?" not in pattern and pattern[found.end() :][:1] not in "*?+{"
    )
    return found[1] if found is not None and plain else ""
