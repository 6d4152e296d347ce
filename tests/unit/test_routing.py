"""Targets, rewriting, redirects and what a route table says, as tables of cases."""

import pytest

from lb7.model import Match, Redirect, Respond, Rewrite, Route, ValueMatch, ValueTest, no_route
from lb7.routes.path import TargetError, normalised_target, route_key
from lb7.routes.reachability import unreachable
from lb7.routes.rewriting import location, rewritten_target
from lb7.routes.table import bare_host, compile_routes


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        ("/ping", "/ping"),
        ("/%70ing?x=%zz&..", "/ping?x=%zz&.."),
        ("/a/./b/../c", "/a/c"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/a/%2e%2E/b", "/b"),
        ("/a%2fb", "/a%2Fb"),
        ("/a//b", "/a//b"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/a\\b", "/a%5Cb"),
        ("/é", "/%C3%A9"),
        ("/...", "/..."),
        ("*", "*"),
    ],
)
def test_targets_have_one_spelling(sent: str, wanted: str) -> None:
    assert normalised_target(sent) == wanted


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("/..", "climbs above"),
        ("/a/../../b", "climbs above"),
        ("/a/..%2fadmin", "encoded slash"),
        ("/a%2f..%2Fadmin", "encoded slash"),
        ("/a/..\\admin", "encoded slash"),
        ("/a/..%5cadmin", "encoded slash"),
        ("/a/..;/admin", "path parameter"),
        ("/a/.%2e;x/admin", "path parameter"),
        ("/a%00", "NUL"),
        ("/%zz", "two hex digits"),
        ("/%2", "two hex digits"),
        ("/a b", "control character or a space"),
        ("a", "start with a slash"),
        ("", "start with a slash"),
    ],
)
def test_ambiguous_targets_are_refused(sent: str, reason: str) -> None:
    with pytest.raises(TargetError, match=reason):
        normalised_target(sent)


def test_routes_see_repeated_slashes_as_one() -> None:
    assert route_key("//a///b/") == "/a/b/"
    route = Route(name="1", number=1, match=Match(path_prefix="/admin"), action=Respond())
    assert compile_routes((route,), no_route()).match("GET", "h", "//admin//x", ()) is route


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("A.Example.ORG:80", "a.example.org"),
        ("a.example.org.", "a.example.org"),
        ("[2001:DB8::1]:80", "[2001:db8::1]"),
        ("", ""),
    ],
)
def test_hosts_are_compared_bare(sent: str, name: str) -> None:
    assert bare_host(sent) == name


@pytest.mark.parametrize(
    ("match", "wanted", "target", "sent"),
    [
        (Match(path_prefix="/pay"), "/v2", "/pay/x?q=1", "/v2/x?q=1"),
        (Match(path_prefix="/pay/"), "/v2/", "/pay/x", "/v2/x"),
        (Match(path_prefix="/pay"), "/v2", "/pay", "/v2"),
        (Match(path_prefix="/pay"), "/", "/pay/x", "/x"),
        (Match(path_prefix="/pay"), "/", "/pay?q", "/?q"),
        (Match(path_prefix="/"), "/v2", "/x", "/v2/x"),
        (Match(), "/v2", "/x", "/v2/x"),
        (Match(path="/ping"), "/pong", "/ping", "/pong"),
        (Match(path_prefix="/pay"), "/v2", "//pay//x", "/v2/x"),
        (Match(path_prefix="/pay"), None, "//pay//x", "//pay//x"),
    ],
)
def test_rewriting_replaces_what_the_match_named(match: Match, wanted: str, target: str, sent: str) -> None:
    assert rewritten_target(Rewrite(path_prefix=wanted), match, target) == sent


@pytest.mark.parametrize(
    ("redirect", "url"),
    [
        (Redirect(scheme="https"), "https://h.org/a/b?q"),
        (Redirect(scheme="https", port=8443), "https://h.org:8443/a/b?q"),
        (Redirect(scheme="https", port=443), "https://h.org/a/b?q"),
        (Redirect(host="o.org"), "http://o.org/a/b?q"),
        (Redirect(path="/n"), "http://h.org:8080/n?q"),
        (Redirect(path="/n?z", keep_query=True), "http://h.org:8080/n?z&q"),
        (Redirect(path_prefix="/n"), "http://h.org:8080/n/b?q"),
        (Redirect(path="/n", keep_query=False), "http://h.org:8080/n"),
    ],
)
def test_locations_keep_what_is_not_replaced(redirect: Redirect, url: str) -> None:
    assert location(redirect, Match(path_prefix="/a"), "http", "h.org:8080", "/a/b?q") == url


def told(*matches: Match) -> list[str]:
    routes = [Route(name=str(n), number=n, match=match, action=Respond()) for n, match in enumerate(matches, 1)]
    return [str(found) for found in unreachable(routes)]


X = ValueMatch("x", ValueTest.EXACT, "1")


@pytest.mark.parametrize(
    ("first", "second", "never"),
    [
        (Match(), Match(path="/a"), True),
        (Match(path_prefix="/a"), Match(path_prefix="/a/b"), True),
        (Match(path_prefix="/a"), Match(path="/a"), True),
        (Match(path_prefix="/a"), Match(path="/ab"), False),
        (Match(path_prefix="/a"), Match(path_regex="/a/.*"), True),
        (Match(path_regex="/a.*"), Match(path="/ab"), True),
        (Match(path_regex="/a.*"), Match(path_prefix="/ab"), False),
        (Match(path="/a"), Match(path_prefix="/a"), False),
        (Match(methods=("GET",)), Match(path="/a"), False),
        (Match(methods=("GET", "POST")), Match(methods=("GET",)), True),
        (Match(hosts=("*.x.org",)), Match(hosts=("a.x.org",)), True),
        (Match(hosts=("*.x.org",)), Match(hosts=("a.x.org", "x.org")), False),
        (Match(hosts=("x.org",)), Match(), False),
        (Match(headers=(X,)), Match(headers=(X,), path="/a"), True),
        (Match(headers=(ValueMatch("x"),)), Match(headers=(X,)), True),
        (Match(headers=(X,)), Match(headers=(ValueMatch("x"),)), False),
        (Match(query=(X,)), Match(), False),
    ],
)
def test_a_route_behind_one_that_takes_all_of_it_is_told(first: Match, second: Match, never: bool) -> None:
    assert told(first, second) == (["route 2 can never match: route 1 takes all of it"] if never else [])
