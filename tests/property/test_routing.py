"""The route table against an oracle that tries every route in turn."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from lb7.model import Match, Respond, Route, ValueMatch, ValueTest, no_route
from lb7.routes.path import TargetError, normalised_target
from lb7.routes.reachability import unreachable
from lb7.routes.table import compile_routes

SEGMENTS = ["a", "b", "ab", "c"]
HOSTS = ["x.org", "a.x.org", "b.a.x.org", "y.org"]
REGEXES = ["/a/.*", "/[ab]", "/a(/b)?", "/ab|/c", ".*", "/b/?", "/a/*b"]

segments = st.lists(st.sampled_from(SEGMENTS), max_size=3)
paths = st.builds(lambda s, end: "/" + "/".join(s) + end, segments, st.sampled_from(["", "/"])).map(
    lambda path: re.sub("//+", "/", path)
)
values = st.builds(
    ValueMatch, st.sampled_from(["p", "q"]), st.sampled_from(list(ValueTest)), st.sampled_from(["", "1", "12"])
)
matches = st.builds(
    lambda hosts, path, methods, headers, query: Match(
        hosts=tuple(hosts), **path, methods=tuple(methods), headers=tuple(headers), query=tuple(query)
    ),
    st.lists(st.sampled_from([*HOSTS, "*.x.org", "*.a.x.org", "*.org"]), max_size=2),
    st.one_of(
        st.just({}),
        st.fixed_dictionaries({"path": paths}),
        st.fixed_dictionaries({"path_prefix": paths}),
        st.fixed_dictionaries({"path_regex": st.sampled_from(REGEXES)}),
    ),
    st.lists(st.sampled_from(["GET", "POST"]), max_size=2, unique=True),
    st.lists(values, max_size=1),
    st.lists(values, max_size=1),
)
tables = st.lists(matches, max_size=8).map(
    lambda ms: tuple(Route(name=str(n), number=n, match=m, action=Respond()) for n, m in enumerate(ms, 1))
)
pairs = st.lists(st.tuples(st.sampled_from(["p", "q"]), st.sampled_from(["", "1", "12", "2"])), max_size=3)
requests = st.tuples(st.sampled_from(["GET", "POST"]), st.sampled_from(HOSTS), paths, pairs, pairs)
Request = tuple[str, str, str, list[tuple[str, str]], list[tuple[str, str]]]


def value_fits(wanted: ValueMatch, found: list[str]) -> bool:
    checks = {
        ValueTest.EXACT: lambda v: v == wanted.value,
        ValueTest.PREFIX: lambda v: v.startswith(wanted.value),
        ValueTest.REGEX: lambda v: re.fullmatch(wanted.value, v) is not None,
        ValueTest.PRESENT: lambda v: True,
    }
    if wanted.test is ValueTest.ABSENT:
        return not found
    return any(checks[wanted.test](v) for v in found)


def path_fits(match: Match, path: str) -> bool:
    if match.path:
        return path == match.path
    if match.path_regex:
        return re.fullmatch(match.path_regex, path) is not None
    wanted = [s for s in match.path_prefix.split("/") if s]
    return [s for s in path.split("/") if s][: len(wanted)] == wanted


def host_fits(match: Match, host: str) -> bool:
    return not match.hosts or any(
        host.endswith(wanted[1:]) if wanted.startswith("*") else host == wanted for wanted in match.hosts
    )


def fits(match: Match, request: Request) -> bool:
    method, host, path, query, headers = request
    joined = {name: [", ".join(v for n, v in headers if n == name)] for name, _ in headers}
    return (
        host_fits(match, host)
        and path_fits(match, path)
        and (not match.methods or method in match.methods)
        and all(value_fits(wanted, joined.get(wanted.name, [])) for wanted in match.headers)
        and all(value_fits(wanted, [v for n, v in query if n == wanted.name]) for wanted in match.query)
    )


def oracle(routes: tuple[Route, ...], request: Request) -> str:
    return next((route.name for route in routes if fits(route.match, request)), "no-route")


def asked(routes: tuple[Route, ...], request: Request) -> str:
    method, host, path, query, headers = request
    target = path + ("?" + "&".join(f"{n}={v}" for n, v in query) if query else "")
    raw = [(name.upper().encode(), value.encode()) for name, value in headers]
    return compile_routes(routes, no_route()).match(method, f"{host.upper()}:8080", target, raw).name


@settings(max_examples=400, deadline=None)
@given(tables, st.lists(requests, min_size=1, max_size=6))
def test_the_table_gives_the_first_route_that_matches(routes, several) -> None:
    for request in several:
        assert asked(routes, request) == oracle(routes, request)


@settings(max_examples=300, deadline=None)
@given(tables, st.lists(requests, min_size=1, max_size=12))
def test_what_is_called_unreachable_is_never_reached(routes, several) -> None:
    never = {found.route.name for found in unreachable(routes)}
    assert not never & {oracle(routes, request) for request in several}


@settings(max_examples=100, deadline=None)
@given(st.lists(matches, min_size=1, max_size=6))
def test_a_repeated_route_is_unreachable(several) -> None:
    twice = [*several, *several]
    routes = tuple(Route(name=str(n), number=n, match=m, action=Respond()) for n, m in enumerate(twice, 1))
    never = {found.route.number for found in unreachable(routes)}
    assert never >= set(range(len(several) + 1, len(twice) + 1))


pieces = st.sampled_from(["/", "a", ".", "..", "%2e", "%2E", "%2f", "%5c", "%41", "%zz", ";", "\\", "é", "%00", "%25"])


@settings(max_examples=500, deadline=None)
@given(st.lists(pieces, max_size=10).map(lambda p: "/" + "".join(p)))
def test_one_spelling_is_final_and_climbs_nowhere(target: str) -> None:
    try:
        once = normalised_target(target)
    except TargetError:
        return
    assert normalised_target(once) == once
    decoded = re.sub("%2F|%5C", "/", once)
    assert not {segment.partition(";")[0] for segment in decoded.split("/")} & {".", ".."}
