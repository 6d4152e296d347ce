"""Mode `http` in the configuration: what routes become, what is refused, and what `explain http` says of them."""

from __future__ import annotations

from typing import Any

import pytest

from cli.config.errors import ConfigError
from cli.config.loader import load
from cli.config.model import Configuration
from cli.operations.explain_request import explain_request
from lb7.auth.model import ApiKeyAuth, HeaderAuth, MtlsAuth
from lb7.model import Forward, HttpListener, Redirect, Respond, Retries, Rewrite, Timeouts, WeightedService

FILE = """
version: 1
listeners:
  web:
    bind: 192.0.2.10:80
    mode: http
{}
    routes:
{}
services:
  a: {{backends: [10.0.0.1:80, 10.0.0.2:80]}}
  b: {{backends: ["dns:b.test:80"]}}
"""


def loaded(*routes: str, more: str = "") -> Configuration:
    body = FILE.format(f"    {more}" if more else "", "\n".join(f"      - {route}" for route in routes))
    return load(body, "/etc/lb/lb.yaml")


def web(*routes: str, more: str = "") -> HttpListener:
    listener = loaded(*routes, more=more).http.listeners["web"]
    assert isinstance(listener, HttpListener)
    return listener


@pytest.mark.parametrize(
    ("route", "action"),
    [
        ("{service: a}", Forward((WeightedService("a"),))),
        ("{split: {a: 9, b: 1}}", Forward((WeightedService("a", 9), WeightedService("b", 1)))),
        (
            "{service: a, rewrite: {path_prefix: /, host: x.org}}",
            Forward((WeightedService("a"),), Rewrite("/", "x.org")),
        ),
        ("{redirect: https}", Redirect(308, scheme="https")),
        ("{redirect: /new}", Redirect(302, path="/new")),
        (
            "{redirect: 'https://x.org:8443/n'}",
            Redirect(302, scheme="https", host="x.org", port=8443, path="/n", keep_query=False),
        ),
        ("{respond: 204}", Respond(204)),
        ("{respond: {status: 200, body: hé, headers: {X-A: b}}}", Respond(200, ((b"X-A", b"b"),), "hé".encode())),
    ],
)
def test_actions(route: str, action: object) -> None:
    assert web(route).routes[0].action == action


def test_routes_are_complete() -> None:
    first, second = web(
        "{service: a, auth: none, timeouts: {first_byte: 1s}, retries: 0, headers: {request: {set: {x-a: '2'}}}}",
        "{match: {path: /%7euser}, service: b, name: second}",
        more="auth: {header: Authorization}\n    timeouts: {connect: 2s}"
        "\n    retries: {attempts: 5, on: [connect, 503]}"
        "\n    headers: {request: {set: {X-A: '1'}}, response: {remove: [Server]}}",
    ).routes
    assert (first.auth, second.auth) == ((), (HeaderAuth("Authorization"),))
    assert (first.timeouts, second.timeouts) == (Timeouts(connect=2, first_byte=1), Timeouts(connect=2))
    assert (first.retries.attempts, second.retries) == (0, Retries(5, ("connect", "503")))
    assert (first.request_headers.set, second.request_headers.set) == (((b"x-a", b"2"),), ((b"X-A", b"1"),))
    assert first.response_headers.remove == (b"Server",)
    assert (first.name, second.name, second.number, second.match.path) == ("1", "second", 2, "/~user")


def test_a_service_takes_what_the_routes_leave_and_the_unmatched_are_asked_too() -> None:
    listener = web("{match: {path: /x}, service: b}", more="service: a\n    auth: {header: X-Key}")
    assert listener.routes[-1].action == Forward((WeightedService("a"),))
    assert listener.unmatched.auth == (HeaderAuth("X-Key"),)


def test_files_lie_beside_the_configuration_and_cheap_methods_come_first() -> None:
    tls = "tls: {certificates: [{cert: c, key: /k}], client_ca: ca}"
    listener = web("{service: a, auth: {api_keys: keys, mtls: true, header: X}}", more=tls)
    assert listener.routes[0].auth == (HeaderAuth("X"), MtlsAuth(), ApiKeyAuth("/etc/lb/keys"))
    assert listener.tls is not None
    assert (listener.tls.certificates[0].cert, listener.tls.certificates[0].key) == ("/etc/lb/c", "/k")
    assert listener.tls.client_certificates == "required"


def test_what_authentication_says_cannot_be_said_by_clients_elsewhere() -> None:
    open_route, checked = web(
        "{match: {path: /open}, service: a}", "{service: a, auth: {basic: {file: users, user_header: X-User}}}"
    ).routes
    assert open_route.request_headers.remove == (b"X-User",)
    assert checked.request_headers.remove == ()


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (
            "{service: a, respond: 200}",
            "a route has one of service, split, redirect or respond, not service and respond",
        ),
        ("{match: {path: /}}", "a route has one of service, split, redirect or respond, not none"),
        ("{service: nope}", "there is no service 'nope'"),
        ("{split: {a: 0}}", "every share is 0"),
        ("{split: {nope: 1}}", "there is no service 'nope'"),
        ("{respond: 200, retries: 2}", "respond asks no backend; retries goes with service or split"),
        ("{match: {path: /a, path_prefix: /b}, service: a}", "path and path_prefix exclude each other"),
        ("{match: {path: /a/../..}, service: a}", "climbs above its root"),
        ("{match: {path: '/a?b'}, service: a}", "holds more than a path; write /a"),
        ("{match: {path_regex: '/x'}, service: a, rewrite: {path_prefix: /}}", "names no part of the path"),
        ("{match: {path_regex: '('}, service: a}", "is not a regular expression"),
        ("{match: {headers: {X: {}}}, service: a}", "write one of exact, prefix, regex or present, not none"),
        ("{match: {methods: [get]}, service: a}", "write GET"),
        ("{match: {host: 'a.org:80'}, service: a}", "has a port"),
        ("{match: {host: 'a*.org'}, service: a}", "is not a host name"),
        ("{service: a, headers: {request: {set: {Host: x}}}}", "changed by rewrite"),
        ("{service: a, headers: {request: {add: {Content-Length: '1'}}}}", "belongs to one connection"),
        ("{service: a, headers: {response: {set: {'a b': x}}}}", "is not a header name"),
        ('{service: a, headers: {response: {set: {X: "a\\nb"}}}}', "holds control characters"),
        ("{service: a, auth: {mtls: true}}", "takes tls: {client_ca: FILE}"),
        ("{service: a, auth: {jwt: {algorithms: [RS256]}}}", "takes one of keys (a file) and jwks_url"),
        ("{service: a, auth: {jwt: {algorithms: [none], keys: k}}}", "is not an algorithm of signatures"),
        ("{service: a, auth: {jwt: {algorithms: [HS256, RS256], keys: k}}}", "a public key is no secret"),
        ("{service: a, auth: {heder: X}}", "unknown key; did you mean header?"),
    ],
)
def test_conflicts_are_named(route: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(route)
    assert said in "\n".join(error.value.lines)
    assert "lb.yaml:9: listeners.web.routes[0]" in error.value.lines[0]


def test_routes_that_can_never_match_are_a_warning() -> None:
    (line, _) = loaded("{match: {path_prefix: /a}, service: a}", "{match: {path: /a/b}, service: a}").warnings
    assert line == ("/etc/lb/lb.yaml:10: listeners.web.routes[1]: route 2 can never match: route 1 takes all of it")


CONFIGURATION = loaded(
    "{match: {path: /ping}, service: a}",
    "{match: {path_prefix: /old}, redirect: https, auth: none}",
    "{match: {path: /b}, service: b, rewrite: {path_prefix: /c}}",
    more="auth: {header: Authorization}",
)


@pytest.mark.parametrize(
    ("url", "headers", "wanted", "step"),
    [
        ("http://192.0.2.10/ping", ["Authorization: x"], ("forward", "a", "1", 2), "it has Authorization"),
        ("http://any.name/ping", ["authorization: x"], ("forward", "a", "1", 2), "route 1 is the first that matches"),
        ("http://192.0.2.10/ping", [], ("respond", None, "1", 0), "Authorization is missing: 401"),
        ("http://192.0.2.10/ping", ["Authorization:"], ("respond", None, "1", 0), "Authorization is empty: 401"),
        ("http://a.org/old/x?y", [], ("respond", None, "2", 0), "redirected with 308 to https://a.org/old/x?y"),
        ("http://192.0.2.10/b", ["Authorization: x"], ("forward", "b", "3", 1), "the backend is asked for /c"),
        ("http://192.0.2.10/none", ["Authorization: x"], ("respond", None, None, 0), "answered with 404"),
        ("http://192.0.2.10/..%2f", [], ("respond", None, None, 0), "refused with 400"),
        ("http://192.0.2.10:81/ping", [], ("pass", None, None, 0), "no listener of mode http has port 81"),
        ("http://192.0.2.11/ping", [], ("pass", None, None, 0), "no listener of mode http"),
    ],
)
def test_explain_says_what_would_happen(url: str, headers: list[str], wanted: tuple[Any, ...], step: str) -> None:
    document = explain_request(CONFIGURATION, CONFIGURATION.balancer, "GET", url, headers)
    found = (document["verdict"], document["service"], document.get("route"), len(document["candidates"]))
    assert found == wanted
    assert any(step in each for each in document["steps"])
