"""Envoy's health checks as a service's `health`.

The rule: Envoy counts 200 alone as good where nothing is said, and so does what is imported.
"""

from __future__ import annotations

from cli.config.document import Value
from cli.config.errors import written_path
from cli.envoy.node import Node, duration

Keys = dict[str, Value]


def health(node: Node, tls: bool) -> Keys:
    """The check of a HealthCheck. tls: whether the backends speak TLS."""
    kind = node.one_of(("http_health_check", "tcp_health_check", "grpc_health_check", "custom_health_check"))
    made: Keys = {"type": "tcp"}
    inner = node.node(kind) if kind.startswith(("http", "tcp")) else None
    if inner is not None and kind == "http_health_check":
        made = _http(inner, tls)
    elif inner is not None:
        inner.refuse("send", "lbctl's tcp check connects and no more; use http")
        inner.refuse("receive", "lbctl's tcp check connects and no more; use http")
    else:
        node.fail(kind or "http_health_check", "cannot be imported: lbctl checks by http and tcp")
    made |= _times(node)
    port = node.whole("alt_port")
    if port:
        made["port"] = port
    node.skip("reuse_connection", "event_log_path", "event_logger", "always_log_health_check_failures")
    node.skip("unhealthy_edge_interval", "healthy_edge_interval", "initial_jitter", "no_traffic_healthy_interval")
    node.differs("lbctl probes in one interval", "no_traffic_interval", "unhealthy_interval")
    node.differs("lbctl checks by its own TLS", "tls_options", "transport_socket_match_criteria")
    return made


def _times(node: Node) -> Keys:
    every, timeout = node.seconds("interval"), node.seconds("timeout")
    rise, fall = node.whole("healthy_threshold"), node.whole("unhealthy_threshold")
    jitter, percent = node.seconds("interval_jitter"), node.number("interval_jitter_percent")
    fraction = percent / 100 if percent else (jitter / every if jitter and every else 0)
    made: Keys = {"every": duration(every or 2), "timeout": duration(timeout or 1)}
    made |= {} if rise is None else {"rise": max(1, rise)}
    made |= {} if fall is None else {"fall": max(1, fall)}
    return made | ({"jitter": min(1, round(fraction, 3))} if fraction else {})


def _http(node: Node, tls: bool) -> Keys:
    made: Keys = {"type": "https" if tls else "http", "path": node.text("path") or "/"}
    host = node.text("host")
    if host:
        made["host"] = host
    ranges: list[Value] = []
    for each in node.nodes("expected_statuses"):
        first, last = each.whole("start") or 200, (each.whole("end") or 201) - 1
        ranges.append(f"{first}-{last}" if first != last else str(first))
    made["statuses"] = ranges or ["200"]
    node.skip("service_name", "service_name_matcher", "request_headers_to_remove")
    node.differs("lbctl's probe sends no extra headers", "request_headers_to_add")
    node.refuse("receive", "use body_match")
    node.refuse("send", "lbctl probes by GET")
    method = str(node.raw("method") or "GET")
    if method.upper() not in ("GET", "METHOD_UNSPECIFIED"):
        node.fail("method", "cannot be imported: lbctl probes by GET")
    if node.flag("use_http2") or str(node.raw("codec_client_type") or "HTTP1").upper() != "HTTP1":
        node.report.note(f"{written_path(node.path)}: lbctl probes by HTTP/1.1")
    return made
