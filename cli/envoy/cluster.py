"""Envoy's clusters as services.

The rule: what a cluster's backends are comes from `hosts` (v2) or `load_assignment`; names become `dns:NAME:PORT`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cli.config.document import Value
from cli.config.errors import Problem, written_path
from cli.envoy import tls
from cli.envoy.address import backend, is_ip, socket_address
from cli.envoy.health import health
from cli.envoy.node import Node, duration

Keys = dict[str, Value]
TYPES = dict.fromkeys(("STATIC", "STRICT_DNS", "LOGICAL_DNS"))
POLICIES = {
    "ROUND_ROBIN": "round-robin",
    "LEAST_REQUEST": "least-connections",
    "RANDOM": "random",
    "RING_HASH": "maglev",
    "MAGLEV": "maglev",
}
UNHEALTHY = ("UNHEALTHY", "DRAINING", "TIMEOUT")
CONNECT = 5.0


@dataclass(slots=True)
class Cluster:
    """A service in the making. connect: seconds. host: the only name of its backends, else empty."""

    keys: Keys
    connect: float = CONNECT
    host: str = ""
    names: list[str] = field(default_factory=list)


def cluster(node: Node) -> Cluster:
    """The service of a cluster."""
    kind = str(node.raw("type") or "STATIC").upper()
    node.choice("type", dict(zip(TYPES, TYPES, strict=True)), "STATIC")
    if kind == "LOGICAL_DNS":
        node.report.note(f"{written_path(node.place('type'))}: lbctl uses all addresses of a name, not one at a time")
    made = Cluster({}, connect=node.seconds("connect_timeout") or CONNECT)
    _scheduler(node, made.keys)
    _backends(node, made)
    context = tls.context(node)
    if context is not None:
        made.keys["tls"] = tls.backend_tls(context)
    checks = node.nodes("health_checks")
    for extra in checks[1:]:
        node.report.problems.append(Problem(extra.path, "cannot be imported: lbctl has one health check for a service"))
        extra.skip(*extra.left())
    if checks:
        made.keys["health"] = {**health(checks[0], context is not None), **_verification(made.keys)}
    made.keys["ejection"] = _ejection(node)
    _bounds(node, made.keys)
    _unused(node)
    return made


def _verification(keys: Keys) -> Keys:
    """How https checks verify: as the service does."""
    found = keys.get("tls")
    return {key: found[key] for key in ("verify", "ca") if key in found} if isinstance(found, dict) else {}


def _scheduler(node: Node, keys: Keys) -> None:
    policy = str(node.raw("lb_policy") or "")
    keys["scheduler"] = node.choice("lb_policy", POLICIES, "round-robin")
    if policy.upper() == "RING_HASH":
        node.report.note(
            f"{written_path(node.place('lb_policy'))}: RING_HASH becomes maglev, which hashes consistently"
        )
    common = node.node("common_lb_config")
    if common is not None:
        threshold = common.node("healthy_panic_threshold")
        value = threshold.number("value") if threshold is not None else None
        if value:
            keys["panic_threshold"] = value / 100
        common.differs(
            "not carried over", "update_merge_window", "zone_aware_lb_config", "ignore_new_hosts_until_first_hc"
        )
        common.differs("not carried over", "close_connections_on_host_set_change", "consistent_hashing_lb_config")
        common.refuse("locality_weighted_lb_config", "lbctl knows no localities")
    for key in ("ring_hash_lb_config", "maglev_lb_config", "least_request_lb_config", "round_robin_lb_config"):
        node.differs("lbctl's own parameters", key)
    node.refuse("load_balancing_policy", "write lb_policy")
    node.refuse("lb_subset_config", "lbctl knows no subsets")


def _backends(node: Node, made: Cluster) -> None:
    found: list[Value] = []
    for host in node.nodes("hosts"):
        address = socket_address(host)
        if address is not None:
            found.append(backend(address))
            made.names.append(address[0])
    assignment = node.node("load_assignment")
    if assignment is not None:
        assignment.skip("cluster_name")
        assignment.differs("not carried over", "policy")
        for group in assignment.nodes("endpoints"):
            found += _group(group, made)
    if not found:
        node.report.problems.append(Problem(node.path, "has no backends in hosts or load_assignment"))
    made.keys["backends"] = found
    names = {name for name in made.names if not is_ip(name)}
    made.host = names.pop() if len(names) == 1 and not any(map(is_ip, made.names)) else ""


def _group(group: Node, made: Cluster) -> list[Value]:
    group.skip("locality")
    group.refuse("load_balancing_weight", "lbctl weighs backends, not localities")
    backup = bool(group.whole("priority"))
    return [item for each in group.nodes("lb_endpoints") if (item := _endpoint(each, backup, made)) is not None]


def _endpoint(node: Node, backup: bool, made: Cluster) -> Value:
    inner = node.node("endpoint")
    if inner is None:
        node.fail("endpoint", "is missing")
        return None
    inner.differs("not carried over", "health_check_config", "hostname")
    address = socket_address(inner)
    weight = node.whole("load_balancing_weight")
    if str(node.raw("health_status") or "").upper() in UNHEALTHY:
        weight = 0
    node.skip("metadata", "health_status")
    if address is None:
        return None
    made.names.append(address[0])
    more: Keys = {} if weight is None else {"weight": weight}
    more |= {"backup": True} if backup else {}
    return {"address": backend(address), **more} if more else backend(address)


def _ejection(node: Node) -> Value:
    found = node.node("outlier_detection")
    if found is None:
        return False
    percent = found.number("max_ejection_percent")
    base = found.seconds("base_ejection_time")
    failures = found.whole("consecutive_5xx") or found.whole("consecutive_gateway_failure")
    found.skip("consecutive_gateway_failure", "interval", "max_ejection_time", "max_ejection_time_jitter")
    found.skip(*(key for key in found.left() if key.startswith("enforcing_consecutive")))
    statistics = [key for key in found.left() if key.startswith(("success_rate", "failure_percentage", "enforcing"))]
    found.differs("lbctl counts failures in a row alone", *statistics)
    found.differs("lbctl counts failures of both kinds alike", "split_external_local_origin_errors")
    found.skip("consecutive_local_origin_failure")
    return {
        "failures": failures or 5,
        "duration": duration(30.0 if base is None else base),
        "max_fraction": (10.0 if percent is None else percent) / 100,
    }


def _bounds(node: Node, keys: Keys) -> None:
    breakers = node.node("circuit_breakers")
    for threshold in breakers.nodes("thresholds") if breakers is not None else []:
        usual = str(threshold.raw("priority") or "DEFAULT").upper() == "DEFAULT"
        connections, pending = threshold.whole("max_connections"), threshold.whole("max_pending_requests")
        threshold.skip("priority", "track_remaining")
        threshold.differs("lbctl bounds connections and queued requests", "max_requests")
        threshold.differs("lbctl bounds retries by budget", "max_retries", "retry_budget")
        if usual and connections:
            keys["max_connections"] = connections
            node.report.note("max_connections bounds each backend of a service, in Envoy all of a cluster")
        if usual and pending:
            keys["max_queued"] = pending
    if breakers is not None:
        breakers.skip("per_host_thresholds")
    options = node.node("common_http_protocol_options")
    if options is not None:
        idle = options.seconds("idle_timeout")
        if idle:
            keys["kept_connections"] = {"idle_timeout": duration(idle)}
        options.differs("not carried over", *options.left())


def _unused(node: Node) -> None:
    node.skip("name", "alt_stat_name", "metadata", "per_connection_buffer_limit_bytes", "cleanup_interval")
    node.skip("upstream_connection_options", "track_cluster_stats", "track_timeout_budgets", "http_protocol_options")
    node.skip("dns_query_timeout", "preconnect_policy", "wait_for_warm_on_init", "warm_hosts")
    node.differs("lbctl asks for both families", "dns_lookup_family")
    node.differs("lbctl looks up again by TTL, every 5s at most", "dns_refresh_rate", "dns_failure_refresh_rate")
    node.skip("respect_dns_ttl", "dns_jitter")
    node.differs(
        "lbctl asks the system's resolvers", "dns_resolvers", "dns_resolution_config", "typed_dns_resolver_config"
    )
    node.differs("not carried over", "upstream_bind_config", "max_requests_per_connection", "protocol_selection")
    node.differs("not carried over", "close_connections_on_host_health_failure", "drain_connections_on_host_removal")
    node.differs("not carried over", "ignore_health_on_host_removal", "connection_pool_per_downstream_connection")
    node.refuse("http2_protocol_options", "lbctl speaks HTTP/1.1 to backends")
    node.refuse("eds_cluster_config", "only static clusters are imported")
    node.refuse("cluster_type", "only static clusters are imported")
    node.refuse("transport_socket_matches", "lbctl has one tls for a service")
    options = node.node("typed_extension_protocol_options")
    for key in options.left() if options is not None else []:
        inner = options.node(key) if options is not None else None
        if inner is not None:
            _protocol(inner)


def _protocol(options: Node) -> None:
    """HttpProtocolOptions of v3: what is HTTP/1.1 is taken, all else refused."""
    options.skip("@type", "upstream_http_protocol_options")
    options.differs("not carried over", "common_http_protocol_options")
    explicit = options.node("explicit_http_config")
    if explicit is not None:
        explicit.skip("http_protocol_options")
        for key in ("http2_protocol_options", "http3_protocol_options"):
            explicit.refuse(key, "lbctl speaks HTTP/1.1 to backends")
            if key in explicit.left():
                explicit.fail(key, "cannot be imported: lbctl speaks HTTP/1.1 to backends")
    options.differs("lbctl speaks HTTP/1.1 to backends", "use_downstream_protocol_config", "auto_config")
