"""Envoy's configurations as lbctl's: whole documents, fragments, shapes of authentication, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from cli.config.errors import ConfigError
from cli.config.loader import load
from cli.envoy.convert import imported
from lb7.model import NO_ROUTE_NAME, HttpListener
from lb7.routes.table import compile_routes

V3 = "type.googleapis.com/envoy.extensions."
FRAGMENT = """
  - name: web
    connect_timeout: 0.25s
    type: strict_dns
    lb_policy: round_robin
    hosts:
      - socket_address: {address: host.docker.internal, port_value: 8080}
      - socket_address: {address: host.docker.internal, port_value: 8181}
"""
BACKENDS = ["dns:host.docker.internal:8080", "dns:host.docker.internal:8181"]


def document(text: str) -> dict[str, Any]:
    """What was imported, read back; it validates."""
    made = imported(text, "envoy.yaml")
    load(made, "imported")
    loaded = yaml.safe_load(made)
    assert isinstance(loaded, dict)
    return loaded


def manager(routes: str, more: str = "", v2: bool = False) -> str:
    """A configuration with these routes, all in one virtual host unless they are virtual hosts themselves."""
    name = "envoy.http_connection_manager" if v2 else "envoy.filters.network.http_connection_manager"
    key = "config" if v2 else "typed_config"
    kind = "" if v2 else f'"@type": {V3}filters.network.http_connection_manager.v3.HttpConnectionManager, '
    hosts = routes if "domains" in routes else f'[{{name: all, domains: ["*"], routes: {routes}}}]'
    chain = f"{{name: {name}, {key}: {{{kind} stat_prefix: x, {more} route_config: {{virtual_hosts: {hosts}}}}}}}"
    return f"""
static_resources:
  listeners:
    - name: main
      address: {{socket_address: {{address: 0.0.0.0, port_value: 10000}}}}
      filter_chains: [{{filters: [{chain}]}}]
  clusters:
    - {{name: web, hosts: [{{socket_address: {{address: 10.0.0.1, port_value: 80}}}}]}}
    - {{name: two, hosts: [{{socket_address: {{address: 10.0.0.2, port_value: 80}}}}]}}
"""


def http(text: str) -> HttpListener:
    """The listener of an imported configuration."""
    listener = load(imported(text, "envoy.yaml"), "imported").http.listeners["main"]
    assert isinstance(listener, HttpListener)
    return listener


@pytest.mark.parametrize(
    "text",
    [
        f"clusters:\n{FRAGMENT}",
        FRAGMENT,
        FRAGMENT.replace("  - name", "    name", 1),
        f"static_resources:\n  clusters:\n{FRAGMENT}",
        f"resources:\n{FRAGMENT}",
    ],
)
def test_a_fragment_imports(text: str) -> None:
    assert document(text)["services"] == {"web": {"scheduler": "round-robin", "backends": BACKENDS, "ejection": False}}


@pytest.mark.parametrize("v2", [False, True])
@pytest.mark.parametrize(
    "routes",
    [
        """[
          {match: {prefix: /, headers: [{name: Authorization, present_match: true, invert_match: true}]},
           direct_response: {status: 401}},
          {match: {path: /ping}, route: {cluster: web}}]""",
        """[
          {match: {prefix: /, headers: [{name: Authorization, present_match: false}]}, direct_response: {status: 401}},
          {match: {path: /ping}, route: {cluster: web}},
          {match: {prefix: /}, direct_response: {status: 404}}]""",
        """[
          {match: {path: /ping, headers: [{name: Authorization, present_match: true}]}, route: {cluster: web}},
          {match: {prefix: /, headers: [{name: Authorization, present_match: true}]}, direct_response: {status: 404}},
          {match: {prefix: /}, direct_response: {status: 401}}]""",
    ],
)
def test_checks_of_a_header_become_authentication(v2: bool, routes: str) -> None:
    listener = http(manager(routes, v2=v2))
    table = compile_routes(listener.routes, listener.unmatched)
    ping, other = table.match("GET", "h", "/ping", ()), table.match("GET", "h", "/other", ())
    assert ping.action.services[0].service == "web"  # type: ignore[union-attr]
    assert other.action.status == 404  # type: ignore[union-attr]
    for route in (ping, other):
        assert [auth.header for auth in route.auth] == ["Authorization"]  # type: ignore[union-attr]


def test_a_check_of_one_route_becomes_its_authentication() -> None:
    listener = http(
        manager("""[
      {match: {path: /ping, headers: [{name: Authorization, present_match: true}]}, route: {cluster: web}},
      {match: {path: /ping}, direct_response: {status: 401}},
      {match: {path: /open}, route: {cluster: web}}]""")
    )
    assert [[auth.header for auth in route.auth] for route in listener.routes] == [["Authorization"], []]  # type: ignore[union-attr]


def test_a_catch_all_401_stays_where_nothing_else_catches_all() -> None:
    routes = """[
      {match: {path: /ping, headers: [{name: X-Key, present_match: true}]}, route: {cluster: web}},
      {match: {prefix: /}, direct_response: {status: 401}}]"""
    listener = http(manager(routes))
    other = compile_routes(listener.routes, listener.unmatched).match("GET", "h", "/other", [(b"X-Key", b"x")])
    assert other.action.status == 401  # type: ignore[union-attr]


def test_rbac_that_wants_a_header_becomes_authentication() -> None:
    rbac = """http_filters: [
      {name: envoy.filters.http.rbac, typed_config: {rules: {action: ALLOW, policies: {any: {
        permissions: [{any: true}], principals: [{header: {name: Authorization, present_match: true}}]}}}}},
      {name: envoy.filters.http.router}],"""
    assert document(manager("[{match: {prefix: /}, route: {cluster: web}}]", rbac))["listeners"]["main"]["auth"] == {
        "header": "Authorization"
    }


def test_ext_authz_becomes_forward() -> None:
    authz = """http_filters: [{name: envoy.filters.http.ext_authz, typed_config: {http_service: {
      server_uri: {uri: "http://127.0.0.1:9000", cluster: web, timeout: 0.5s}, path_prefix: /check,
      authorization_response: {allowed_upstream_headers: {patterns: [{exact: X-User}]}}}}}],"""
    auth = document(manager("[{match: {prefix: /}, route: {cluster: web}}]", authz))["listeners"]["main"]["auth"]
    assert auth == {"forward": {"url": "http://127.0.0.1:9000/check", "timeout": "500ms", "keep": ["X-User"]}}


@pytest.mark.parametrize(
    ("match", "wanted"),
    [
        ("{prefix: /}", {}),
        ("{prefix: /pay}", {"path_prefix": "/pay"}),
        ("{path_separated_prefix: /pay}", {"path_prefix": "/pay"}),
        ("{path: /ping}", {"path": "/ping"}),
        ("{path: /a.b, case_sensitive: false}", {"path_regex": r"(?i:/a\.b)"}),
        ("{regex: '/u/[0-9]+'}", {"path_regex": "/u/[0-9]+"}),
        ("{safe_regex: {google_re2: {}, regex: '/u/[0-9]+'}}", {"path_regex": "/u/[0-9]+"}),
        ("{safeRegex: {googleRe2: {}, regex: '/u/[0-9]+'}}", {"path_regex": "/u/[0-9]+"}),
        ("{prefix: /, headers: [{name: ':method', exact_match: GET}]}", {"methods": ["GET"]}),
        (
            "{prefix: /, headers: [{name: ':method', safe_regex_match: {regex: 'GET|POST'}}]}",
            {"methods": ["GET", "POST"]},
        ),
        ("{prefix: /, headers: [{name: ':authority', exact_match: 'a.org:80'}]}", {"host": "a.org"}),
        ("{prefix: /, headers: [{name: x, exact_match: y}]}", {"headers": {"x": {"exact": "y"}}}),
        ("{prefix: /, headers: [{name: x, suffix_match: .y}]}", {"headers": {"x": {"regex": r".*\.y"}}}),
        ("{prefix: /, headers: [{name: x, contains_match: .y}]}", {"headers": {"x": {"regex": r".*\.y.*"}}}),
        ("{prefix: /, headers: [{name: x, string_match: {prefix: y}}]}", {"headers": {"x": {"prefix": "y"}}}),
        (
            "{prefix: /, headers: [{name: x, string_match: {exact: y.z, ignore_case: true}}]}",
            {"headers": {"x": {"regex": r"(?i:y\.z)"}}},
        ),
        ("{prefix: /, headers: [{name: x}]}", {"headers": {"x": {"present": True}}}),
        ("{prefix: /, headers: [{name: x, invert_match: true}]}", {"headers": {"x": {"present": False}}}),
        ("{prefix: /, query_parameters: [{name: q, value: '1'}]}", {"query": {"q": {"exact": "1"}}}),
        (
            "{prefix: /, query_parameters: [{name: q, string_match: {safe_regex: {regex: a+}}}]}",
            {"query": {"q": {"regex": "a+"}}},
        ),
    ],
)
def test_matches(match: str, wanted: dict[str, Any]) -> None:
    (route,) = document(manager(f"[{{match: {match}, route: {{cluster: web}}}}]"))["listeners"]["main"]["routes"]
    assert route.get("match", {}) == wanted


@pytest.mark.parametrize(
    ("action", "wanted"),
    [
        ("route: {cluster: web, timeout: 0s}", {"service": "web", "timeouts": {"request": 0}}),
        (
            "route: {weighted_clusters: {clusters: [{name: web, weight: 9}, {name: two, weight: 1}]}}",
            {"split": {"web": 9, "two": 1}},
        ),
        (
            "route: {cluster: web, prefix_rewrite: /x, host_rewrite: y.org}",
            {"service": "web", "rewrite": {"path_prefix": "/x", "host": "y.org"}},
        ),
        (
            "route: {cluster: web, retry_policy: {retry_on: 'connect-failure,gateway-error', per_try_timeout: 0.25s}}",
            {
                "service": "web",
                "timeouts": {"first_byte": "250ms"},
                "retries": {"attempts": 1, "on": ["connect", 502, 503, 504]},
            },
        ),
        ("redirect: {https_redirect: true}", {"redirect": {"status": 301, "scheme": "https"}}),
        (
            "redirect: {host_redirect: a.org, path_redirect: /n, response_code: FOUND, strip_query: true}",
            {"redirect": {"status": 302, "host": "a.org", "path": "/n", "query": False}},
        ),
        ("direct_response: {status: 204}", {"respond": {"status": 204}}),
    ],
)
def test_actions(action: str, wanted: dict[str, Any]) -> None:
    (route,) = document(manager(f"[{{match: {{prefix: /}}, {action}}}]"))["listeners"]["main"]["routes"]
    assert route == wanted


def test_virtual_hosts_are_put_in_the_order_of_their_exactness() -> None:
    hosts = """[
      {name: rest, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200}}]},
      {name: wild, domains: ["*.a.org", "*.b.a.org"], routes: [{match: {path: /w}, direct_response: {status: 201}}]},
      {name: one, domains: ["x.a.org:80"], routes: [{match: {path: /x}, direct_response: {status: 202}}]}]"""
    listener = http(manager(hosts))
    table = compile_routes(listener.routes, listener.unmatched)

    def status(host: str, path: str) -> int:
        return table.match("GET", host, path, ()).action.status  # type: ignore[union-attr]

    assert [status(host, "/w") for host in ("x.a.org", "y.a.org", "y.b.a.org", "o.net")] == [404, 201, 201, 200]
    assert [status(host, "/x") for host in ("x.a.org", "y.a.org", "o.net")] == [202, 404, 200]


def test_no_route_is_lbctls_404_too() -> None:
    listener = http(manager("[{match: {path: /x}, route: {cluster: web}}]"))
    assert compile_routes(listener.routes, listener.unmatched).match("GET", "h", "/", ()).name == NO_ROUTE_NAME


CLUSTER = "clusters:\n  - {{name: web, hosts: [{{socket_address: {{address: 10.0.0.1, port_value: 80}}}}], {}}}\n"


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ("lb_policy: LEAST_REQUEST", {"scheduler": "least-connections"}),
        ("lb_policy: ring_hash", {"scheduler": "maglev"}),
        (
            "outlier_detection: {consecutive_5xx: 7, base_ejection_time: 10s}",
            {"ejection": {"failures": 7, "duration": "10s", "max_fraction": 0.1}},
        ),
        (
            "health_checks: [{timeout: 1s, interval: 5s, unhealthy_threshold: 3, healthy_threshold: 2,"
            " http_health_check: {path: /h, expected_statuses: [{start: 200, end: 300}]}}]",
            {
                "health": {
                    "type": "http",
                    "path": "/h",
                    "statuses": ["200-299"],
                    "every": "5s",
                    "timeout": "1s",
                    "rise": 2,
                    "fall": 3,
                }
            },
        ),
        (
            "tls_context: {sni: a.org, common_tls_context: {validation_context: {trusted_ca: {filename: ca.pem}}}}",
            {"tls": {"ca": "ca.pem", "server_name": "a.org"}},
        ),
        ("tls_context: {}", {"tls": {"verify": False}}),
        (
            "circuit_breakers: {thresholds: [{max_connections: 5, max_pending_requests: 6}]}",
            {"max_connections": 5, "max_queued": 6},
        ),
        ("common_lb_config: {healthy_panic_threshold: {value: 40}}", {"panic_threshold": 0.4}),
    ],
)
def test_clusters(keys: str, wanted: dict[str, Any]) -> None:
    service = document(CLUSTER.format(keys))["services"]["web"]
    assert {key: service[key] for key in wanted} == wanted


def test_assignments_have_weights_and_priorities() -> None:
    text = """{name: web, load_assignment: {endpoints: [
      {lb_endpoints: [
        {load_balancing_weight: 3, endpoint: {address: {socket_address: {address: "::1", port_value: 1}}}}]},
      {priority: 1, lb_endpoints: [{endpoint: {address: {socket_address: {address: a.org, port_value: 2}}}}]}]}}"""
    assert document(text)["services"]["web"]["backends"] == [
        {"address": "[::1]:1", "weight": 3},
        {"address": "dns:a.org:2", "backup": True},
    ]


def test_tcp_proxies_become_terminate_with_server_names() -> None:
    def chain(server: str, cluster: str) -> str:
        proxy = f"{{name: envoy.tcp_proxy, config: {{stat_prefix: t, cluster: {cluster}, idle_timeout: 60s}}}}"
        return f"{{filter_chain_match: {{server_names: [{server}]}}, filters: [{proxy}]}}"

    text = manager("[]").replace(
        "filter_chains: [{filters:", f"filter_chains: [{chain('a.org', 'web')}, {chain('b.org', 'two')}]\n      #"
    )
    main = document(text)["listeners"]["main"]
    assert (main["mode"], main["sni"]) == ("terminate", {"a.org": "web", "b.org": "two"})


def test_downstream_tls_of_both_versions() -> None:
    context = "common_tls_context: {tls_certificates: [{certificate_chain: {filename: c}, private_key: {filename: k}}]}"
    v3 = f"{{name: envoy.transport_sockets.tls, typed_config: {{{context}}}}}"
    for tls in (f"tls_context: {{{context}}}", f"transport_socket: {v3}"):
        text = manager("[{match: {prefix: /}, route: {cluster: web}}]").replace("[{filters:", f"[{{{tls}, filters:")
        assert document(text)["listeners"]["main"]["tls"] == {"certificates": [{"cert": "c", "key": "k"}]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CLUSTER.format("lb_polcy: x"), ["clusters[0].lb_polcy: unknown field"]),
        (CLUSTER.format("type: EDS, lb_policy: NONE"), ["clusters[0].type: 'EDS' cannot", "lb_policy: 'NONE' cannot"]),
        (CLUSTER.format("connect_timeout: 5, foo: 1"), ["connect_timeout: 5 is not a duration", "foo: unknown field"]),
        (CLUSTER.format("http2_protocol_options: {}"), ["http2_protocol_options: cannot be imported"]),
        (manager("[{match: {prefix: /}, route: {cluster: nope}}]"), ["route.cluster: there is no cluster 'nope'"]),
        (
            manager("[{match: {prefix: /, foo: 1}, route: {cluster: web, bar: 2}}]"),
            ["match.foo: unk", "route.bar: unk"],
        ),
        (
            manager("[{match: {prefix: /}, route: {cluster: web}}]", "http_filters: [{name: envoy.filters.http.lua}],"),
            ["has nothing in place of the filter envoy.filters.http.lua"],
        ),
        (manager("[{match: {prefix: /}}]"), ["routes[0]: has none of route, redirect and direct_response"]),
        ("dynamic_resources: {}\nstatic_resources: {}", ["dynamic_resources: cannot be imported"]),
        ("{}", ["holds neither listeners nor clusters"]),
        ("[1, 2", ["envoy.yaml:"]),
        ("text", ["not a configuration of Envoy"]),
    ],
)
def test_what_cannot_be_imported_is_named(text: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        imported(text, "envoy.yaml")
    lines = "\n".join(error.value.lines)
    assert all(each in lines for each in said), lines
