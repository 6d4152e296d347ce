"""What happens on an Envoy route, as what happens on one of lbctl's.

The rule: Envoy retries nothing and redirects with 301 where nothing is said; that is said out loud.
"""

from __future__ import annotations

from collections.abc import Mapping

from cli.config.document import Value
from cli.config.errors import Problem, written_path
from cli.envoy.cluster import CONNECT, Cluster
from cli.envoy.node import Node, duration

Keys = dict[str, Value]
REDIRECTS = {
    "MOVED_PERMANENTLY": 301,
    "FOUND": 302,
    "SEE_OTHER": 303,
    "TEMPORARY_REDIRECT": 307,
    "PERMANENT_REDIRECT": 308,
}
RETRY_ON: dict[str, tuple[str | int, ...]] = {
    "5xx": ("connect", "reset", "timeout", 500, 502, 503, 504),
    "gateway-error": (502, 503, 504),
    "connect-failure": ("connect",),
    "reset": ("reset", "timeout"),
    "reset-before-request": ("connect",),
    "refused-stream": ("reset",),
    "retriable-status-codes": (),
}
RETRIED = (500, 502, 503, 504)
ACTIONS = ("route", "redirect", "direct_response")


def action(node: Node, clusters: Mapping[str, Cluster], names: Mapping[str, str]) -> Keys:
    """The keys of a route's action. clusters and names: by Envoy's name, the services and their names here."""
    kind = node.one_of(ACTIONS)
    for key in ("filter_action", "non_forwarding_action"):
        node.refuse(key, "a route has route, redirect or direct_response")
    inner = node.node(kind) if kind else None
    if inner is None:
        if not any(node.has(key) for key in (*ACTIONS, "filter_action", "non_forwarding_action")):
            node.report.problems.append(Problem(node.path, "has none of route, redirect and direct_response"))
        return {}
    if kind == "redirect":
        return {"redirect": _redirect(inner)}
    return {"respond": _respond(inner)} if kind == "direct_response" else _forward(inner, clusters, names)


def _respond(node: Node) -> Keys:
    made: Keys = {"status": node.whole("status") or 200}
    body = node.node("body")
    if body is not None:
        for key in ("filename", "inline_bytes", "environment_variable"):
            body.refuse(key, "write it as inline_string")
        text = body.text("inline_string")
        made |= {"headers": {"Content-Type": "text/plain"}, "body": text} if text else {}
    node.refuse("body_format", "write it as body")
    return made


def _redirect(node: Node) -> Keys:
    made: Keys = {"status": node.choice("response_code", REDIRECTS, 301)}
    scheme = "https" if node.flag("https_redirect") else node.text("scheme_redirect")
    values: Keys = {
        "scheme": scheme,
        "host": node.text("host_redirect"),
        "port": node.whole("port_redirect"),
        "path": node.text("path_redirect"),
        "path_prefix": node.text("prefix_rewrite"),
    }
    made |= {key: value for key, value in values.items() if value}
    if node.flag("strip_query"):
        made["query"] = False
    node.refuse("regex_rewrite", "lbctl replaces prefixes")
    return made


def _forward(node: Node, clusters: Mapping[str, Cluster], names: Mapping[str, str]) -> Keys:
    made, named = _services(node, names)
    targets = [clusters[name] for name in named if name in clusters]
    _affinity(node, targets)
    rewrite: Keys = {}
    if node.has("prefix_rewrite"):
        rewrite["path_prefix"] = node.text("prefix_rewrite")
    host = node.text("host_rewrite_literal") or node.text("host_rewrite")
    if node.flag("auto_host_rewrite"):
        host = targets[0].host if len(targets) == 1 else ""
        if not host:
            node.fail(
                "auto_host_rewrite", "cannot be imported: the cluster has not one name; write host_rewrite_literal"
            )
    rewrite |= {"host": host} if host else {}
    for key in (
        "regex_rewrite",
        "host_rewrite_header",
        "host_rewrite_path_regex",
        "cluster_header",
        "path_rewrite_policy",
    ):
        node.refuse(key, "lbctl rewrites prefixes and hosts to constants")
    node.refuse("request_mirror_policies", "lbctl mirrors nothing")
    made |= {"rewrite": rewrite} if rewrite else {}
    policy = node.node("retry_policy")
    times = _times(node, targets, policy)
    made |= {"timeouts": times} if times else {}
    made |= {"retries": retries(policy)} if policy is not None else {}
    _upgrades(node, made)
    node.skip("cluster_not_found_response_code", "priority", "include_vh_rate_limits", "metadata_match")
    for key in ("cors", "rate_limits", "internal_redirect_policy", "internal_redirect_action"):
        node.refuse(key, "lbctl does not do this")
    node.differs("lbctl knows no gRPC timeouts", "max_grpc_timeout", "grpc_timeout_offset")
    return made


def _services(node: Node, names: Mapping[str, str]) -> tuple[Keys, list[str]]:
    """The service or the split of an action, and the clusters that it names, by Envoy's names."""
    if node.has("cluster"):
        name = _named(node, "cluster", names)
        return {"service": names.get(name, name)}, [name]
    weighted = node.node("weighted_clusters")
    if weighted is None:
        if not node.has("cluster_header"):
            node.fail("cluster", "is missing")
        return {}, []
    shares: dict[str, int] = {}
    for each in weighted.nodes("clusters"):
        name = _named(each, "name", names)
        shares[name] = shares.get(name, 0) + (each.whole("weight") or 0)
        for key in ("request_headers_to_add", "request_headers_to_remove", "response_headers_to_add"):
            each.refuse(key, "lbctl changes headers by route")
        each.skip("metadata_match")
    weighted.skip("total_weight", "runtime_key_prefix")
    return {"split": {names.get(name, name): weight for name, weight in shares.items()}}, list(shares)


def _named(node: Node, key: str, names: Mapping[str, str]) -> str:
    name = node.text(key)
    if name not in names:
        node.fail(key, f"there is no cluster {name!r}" if name else "is missing")
    return name


def _affinity(node: Node, targets: list[Cluster]) -> None:
    """hash_policy, which lbctl says at the service."""
    for policy in node.nodes("hash_policy"):
        policy.skip("terminal")
        header, cookie, source = policy.node("header"), policy.node("cookie"), policy.node("connection_properties")
        made: Keys = {}
        if header is not None:
            made = {"key": "header", "name": header.text("header_name")}
            header.refuse("regex_rewrite", "lbctl takes the value as it is")
        elif cookie is not None:
            ttl = cookie.seconds("ttl")
            cookie.skip("path", "attributes")
            made = {"key": "cookie", "name": cookie.text("name")}
            made |= {"timeout": duration(ttl)} if ttl else {}
        elif source is not None:
            source.skip("source_ip")
        for target in targets if made else ():
            target.keys["affinity"] = made
            node.report.note(f"{written_path(policy.path)}: affinity of the service, by its first backend")


def _times(node: Node, targets: list[Cluster], policy: Node | None) -> Keys:
    made: Keys = {}
    connect = max((target.connect for target in targets), default=CONNECT)
    if connect != CONNECT:
        made["connect"] = duration(connect)
    for key, name in (("timeout", "request"), ("idle_timeout", "idle")):
        seconds = node.seconds(key)
        if seconds is not None:
            made[name] = duration(seconds)
    per_try = policy.seconds("per_try_timeout") if policy is not None else None
    if per_try:
        made["first_byte"] = duration(per_try)
    node.differs("timeouts.request", "max_stream_duration")
    return made


def _upgrades(node: Node, made: Keys) -> None:
    for upgrade in node.nodes("upgrade_configs"):
        kind = upgrade.text("upgrade_type").lower()
        upgrade.skip("enabled")
        if kind == "connect":
            made["connect"] = True
            upgrade.skip("connect_config")
        elif kind != "websocket":
            upgrade.fail("upgrade_type", "cannot be imported: lbctl tunnels websocket and CONNECT")


def retries(node: Node) -> Keys:
    """A RetryPolicy."""
    codes = [int(code) for code in _numbers(node, "retriable_status_codes")]
    asked = [word.strip() for word in node.text("retry_on").split(",") if word.strip()]
    on: list[str | int] = []
    for word in asked:
        if word not in RETRY_ON:
            node.report.note(f"{written_path(node.place('retry_on'))}: {word} is not carried over")
        on += RETRY_ON.get(word, ())
    if "retriable-status-codes" in asked:
        on += [code for code in codes if code in RETRIED]
        if any(code not in RETRIED for code in codes):
            node.report.note(f"{written_path(node.place('retriable_status_codes'))}: lbctl retries {RETRIED} alone")
    attempts = node.whole("num_retries")
    node.skip("per_try_timeout", "retry_host_predicate", "host_selection_retry_max_attempts", "retry_priority")
    node.differs("lbctl retries at once, on another backend", "retry_back_off", "rate_limited_retry_back_off")
    node.differs("not carried over", "per_try_idle_timeout", "retriable_headers", "retriable_request_headers")
    node.skip("retry_options_predicates")
    wanted: list[Value] = list(dict.fromkeys(on))
    return {"attempts": min(10, 1 if attempts is None else attempts) if wanted else 0, "on": wanted or ["connect"]}


def _numbers(node: Node, key: str) -> list[float]:
    values = node.raw(key)
    return [value for value in values if isinstance(value, int)] if isinstance(values, list) else []
