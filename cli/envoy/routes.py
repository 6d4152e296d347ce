"""Envoy's route configuration as a listener's routes.

The rule: Envoy picks the virtual host by the most exact domain and then only among its routes; lbctl takes the first
route of one list. So virtual hosts are put in that order, and each but the last ends in a 404 of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cli.config.document import Value
from cli.config.errors import written_path
from cli.envoy.action import action, retries
from cli.envoy.auth import guarded
from cli.envoy.cluster import Cluster
from cli.envoy.headers import headers, merged
from cli.envoy.match import match
from cli.envoy.node import Node

Keys = dict[str, Value]
ORDER = (
    "match",
    "service",
    "split",
    "redirect",
    "respond",
    "rewrite",
    "headers",
    "timeouts",
    "retries",
    "auth",
    "connect",
)
TLS_WANTED = {"NONE": False, "EXTERNAL_ONLY": True, "ALL": True}


@dataclass(slots=True)
class Routes:
    """A listener's routes, and the header that all of them ask for."""

    routes: list[Keys] = field(default_factory=list)
    header: str = ""
    headers: Keys = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Host:
    """One virtual host for one kind of domain, with its routes; domains empty is every host."""

    domains: tuple[str, ...]
    routes: list[Keys]
    header: str

    @property
    def order(self) -> tuple[int, int]:
        """Exact domains, then wildcards, the longest first, then all others."""
        wildcard = bool(self.domains) and self.domains[0].startswith("*.")
        return (0 if self.domains and not wildcard else 1 if wildcard else 2, -len("".join(self.domains[:1])))


def routes(node: Node, clusters: Mapping[str, Cluster], names: Mapping[str, str]) -> Routes:
    """All routes of a RouteConfiguration."""
    node.skip("name", "validate_clusters", "vhds", "request_headers_to_log", "most_specific_header_mutations_wins")
    node.differs("not carried over", "internal_only_headers", "max_direct_response_body_size_bytes", "metadata")
    node.differs("routes compare hosts without ports", "ignore_port_in_host_matching")
    made = Routes(headers=headers(node))
    hosts = [host for each in node.nodes("virtual_hosts") for host in _hosts(each, clusters, names)]
    ordered = sorted(hosts, key=lambda host: host.order)
    required = {host.header for host in ordered}
    made.header = required.pop() if len(required) == 1 else ""
    for number, host in enumerate(ordered):
        made.routes += _of_host(host, number == len(ordered) - 1, bool(made.header))
    return made


def _of_host(host: Host, last: bool, common: bool) -> list[Keys]:
    """The routes of a virtual host, for its domains alone."""
    made = [dict(route) for route in host.routes]
    if not last and not any(not route.get("match") for route in made):
        made.append({"respond": {"status": 404}})
    for route in made:
        if host.header and not common:
            route["auth"] = {"header": host.header}
        if host.domains:
            before = route.get("match")
            domains: Value = list(host.domains) if len(host.domains) > 1 else host.domains[0]
            route["match"] = {"host": domains} | (before if isinstance(before, dict) else {})
    return [{key: route[key] for key in ORDER if route.get(key) not in (None, {})} for route in made]


def _hosts(node: Node, clusters: Mapping[str, Cluster], names: Mapping[str, str]) -> list[Host]:
    """A virtual host once for its exact domains, once for each wildcard, once for `*`."""
    node.skip("name", "include_request_attempt_count", "metadata", "include_is_timeout_retry_header")
    for key in ("cors", "rate_limits", "matcher", "virtual_clusters", "request_mirror_policies"):
        node.refuse(key, "lbctl does not do this")
    node.refuse("typed_per_filter_config", "what filters do is said in the listener")
    own = headers(node)
    policy = node.node("retry_policy")
    standard = {"retries": retries(policy)} if policy is not None else {}
    made = [{**standard, **_route(each, own, clusters, names)} for each in node.nodes("routes")]
    made = [route if "service" in route or "split" in route else _dropped(route) for route in made]
    if node.choice("require_tls", TLS_WANTED, False):
        made = [{"redirect": {"scheme": "https", "status": 301}}]
    found = guarded(made)
    groups = _groups(node)
    if found.header:
        place = written_path(node.path)
        node.report.note(f"{place}: the check of {found.header} becomes auth, which refuses an empty value too")
    return [Host(domains, found.routes, found.header) for domains in groups]


def _dropped(route: Keys) -> Keys:
    return {key: value for key, value in route.items() if key not in ("retries", "timeouts", "rewrite")}


def _groups(node: Node) -> list[tuple[str, ...]]:
    domains = [domain.lower() for domain in node.texts("domains")]
    if not domains:
        node.fail("domains", "is missing")
    if any(":" in domain for domain in domains):
        node.report.note(f"{written_path(node.place('domains'))}: routes compare hosts without ports")
    bare = list(dict.fromkeys(domain.partition(":")[0] for domain in domains))
    exact = tuple(domain for domain in bare if "*" not in domain)
    wildcards = [(domain,) for domain in bare if domain.startswith("*.")]
    for domain in bare:
        if "*" in domain and domain != "*" and not domain.startswith("*."):
            node.fail("domains", f"cannot be imported: {domain}; lbctl knows exact names and *.wildcards")
    return ([exact] if exact else []) + wildcards + ([()] if "*" in bare else [])


def _route(node: Node, own: Keys, clusters: Mapping[str, Cluster], names: Mapping[str, str]) -> Keys:
    node.skip("name", "metadata", "decorator", "tracing", "stat_prefix", "per_request_buffer_limit_bytes")
    node.refuse("typed_per_filter_config", "what filters do is said in the listener")
    node.refuse("per_filter_config", "what filters do is said in the listener")
    inner = node.node("match")
    if inner is None:
        node.fail("match", "is missing")
    made: Keys = {"match": {} if inner is None else match(inner)}
    made |= action(node, clusters, names)
    changed = merged(own, headers(node))
    return made | ({"headers": changed} if changed else {})
