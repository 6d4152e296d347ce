"""Envoy's HTTP filters: the router, and those that stand for authentication.

The rule: every other filter is an error that names it: what it did for requests would silently be gone.
"""

from __future__ import annotations

from cli.config.document import Value
from cli.config.errors import written_path
from cli.envoy.node import Node, duration

Keys = dict[str, Value]


def filters(nodes: list[Node]) -> Keys:
    """The `auth` that the filters ask for; empty where they ask for nothing."""
    auth: Keys = {}
    for node in nodes:
        name = node.text("name")
        inner = node.node("typed_config" if node.has("typed_config") else "config")
        node.skip("is_optional", "typed_config", "config")
        node.refuse("config_discovery", "only static configurations are imported")
        kind = str(inner.raw("@type") or "") if inner is not None else ""
        if "router" in name or kind.endswith(".Router"):
            if inner is not None:
                inner.skip(*inner.left())
        elif inner is not None and ("rbac" in name or kind.endswith(".RBAC")):
            auth |= _rbac(inner)
        elif inner is not None and ("ext_authz" in name or kind.endswith(".ExtAuthz")):
            auth |= _ext_authz(inner)
        else:
            node.fail("name", f"cannot be imported: lbctl has nothing in place of the filter {name}")
            if inner is not None:
                inner.skip(*inner.left())
    return auth


def _rbac(node: Node) -> Keys:
    """One policy that lets in who has a header."""
    node.skip("shadow_rules", "shadow_rules_stat_prefix", "rules_stat_prefix")
    rules = node.node("rules")
    if rules is None:
        return {}
    policies = rules.node("policies")
    allow = rules.choice("action", {"ALLOW": True, "DENY": False}, True)
    named = [policies.node(key) for key in policies.left()] if policies is not None else []
    header = _principal(named[0]) if len(named) == 1 and named[0] is not None and allow else ""
    if not header:
        rules.fail("policies", "cannot be imported: lbctl knows the one policy that lets in who has a header")
        return {}
    node.report.note(f"{written_path(node.path)}: becomes auth, which answers 401 and not 403")
    return {"header": header}


def _principal(policy: Node) -> str:
    """The header whose presence is the only principal, for any permission."""
    any_permission = [each.flag("any") for each in policy.nodes("permissions")]
    principals = policy.nodes("principals")
    header = principals[0].node("header") if len(principals) == 1 else None
    if header is None or not all(any_permission):
        return ""
    name, present = header.text("name"), header.flag("present_match")
    return name if present and not header.left() else ""


def _ext_authz(node: Node) -> Keys:
    """Authorization by an HTTP service."""
    service = node.node("http_service")
    node.refuse("grpc_service", "lbctl asks by HTTP")
    node.skip("transport_api_version", "stat_prefix", "clear_route_cache", "status_on_error")
    if node.flag("failure_mode_allow"):
        node.fail("failure_mode_allow", "cannot be imported: without an answer lbctl lets nobody pass")
    node.refuse("with_request_body", "lbctl asks without the body")
    uri = service.node("server_uri") if service is not None else None
    if service is None or uri is None:
        return {}
    url, timeout = uri.text("uri") + service.text("path_prefix"), uri.seconds("timeout")
    uri.skip("cluster")
    made: Keys = {"url": url, "timeout": duration(timeout or 0.2)}
    asked, answered = service.node("authorization_request"), service.node("authorization_response")
    send = _names(asked.node("allowed_headers")) if asked is not None else []
    keep = _names(answered.node("allowed_upstream_headers")) if answered is not None else []
    if answered is not None:
        answered.differs("lbctl passes the answer's own", "allowed_client_headers")
    made |= {"send": ["Authorization", *send]} if send else {}
    made |= {"keep": list[Value](keep)} if keep else {}
    return {"forward": made}


def _names(node: Node | None) -> list[Value]:
    """The exact names of a ListStringMatcher."""
    return [] if node is None else [each.text("exact") for each in node.nodes("patterns")]
