"""Envoy's listeners as lbctl's: the HTTP connection manager as mode `http`, tcp_proxy as mode `terminate`.

The rule: one filter chain becomes one listener; several are taken where only the server name tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping

from cli.config.document import Value
from cli.config.errors import Problem, written_path
from cli.envoy import tls
from cli.envoy.address import bind, is_ip, socket_address
from cli.envoy.cluster import CONNECT, Cluster
from cli.envoy.http_filters import filters
from cli.envoy.node import Node, duration
from cli.envoy.routes import routes

Keys = dict[str, Value]
MANAGERS = ("envoy.http_connection_manager", "envoy.filters.network.http_connection_manager")
PROXIES = ("envoy.tcp_proxy", "envoy.filters.network.tcp_proxy")
CODECS = dict.fromkeys(("AUTO", "HTTP1"), "")
REQUEST_TIMEOUT = 15.0


def listener(node: Node, clusters: Mapping[str, Cluster], names: Mapping[str, str]) -> Keys:
    """The keys of a listener."""
    made: Keys = {"bind": _binds(node)}
    _around(node)
    chains = node.nodes("filter_chains")
    standard = node.node("default_filter_chain")
    if standard is not None:
        chains.append(standard)
    if not chains:
        node.fail("filter_chains", "is missing")
    for number, chain in enumerate(chains):
        part = _chain(chain, clusters, names)
        if number == 0:
            made |= part
        else:
            _merge(made, part, chain)
    return made


def _binds(node: Node) -> list[Value]:
    found = [socket_address(node)] if node.has("address") else []
    if not found:
        node.fail("address", "is missing")
    found += [socket_address(each) for each in node.nodes("additional_addresses")]
    binds: list[Value] = []
    for address in found:
        if address is not None and is_ip(address[0]):
            binds.append(bind(address))
        elif address is not None:
            node.fail("address", f"cannot be imported: {address[0]!r} is not an IP address")
    return binds


def _around(node: Node) -> None:
    node.skip(
        "name", "stat_prefix", "metadata", "traffic_direction", "reuse_port", "enable_reuse_port", "deprecated_v1"
    )
    node.skip("listener_filters_timeout", "continue_on_listener_filters_timeout", "drain_type", "tcp_backlog_size")
    node.differs("not carried over", "per_connection_buffer_limit_bytes", "socket_options", "connection_balance_config")
    node.differs("not carried over", "access_log", "tcp_fast_open_queue_length", "freebind", "bind_to_port")
    for key in ("use_original_dst", "transparent", "udp_listener_config", "api_listener", "hidden_envoy_deprecated"):
        node.refuse(key, "lbctl does not do this in modes http and terminate")
    for each in node.nodes("listener_filters"):
        name = each.text("name")
        each.skip("config", "typed_config", "filter_disabled")
        if "tls_inspector" not in name and "http_inspector" not in name:
            each.fail("name", f"cannot be imported: {name}")


def _chain(node: Node, clusters: Mapping[str, Cluster], names: Mapping[str, str]) -> Keys:
    node.skip("name", "metadata", "transport_socket_connect_timeout")
    node.refuse("use_proxy_proto", "write proxy_protocol: {trusted: [PREFIX]} at the listener")
    servers = _servers(node)
    context = tls.context(node)
    made: Keys = {}
    found = node.nodes("filters")
    for each in found:
        name = each.text("name")
        inner = each.node("typed_config" if each.has("typed_config") else "config")
        kind = str(inner.raw("@type") or "") if inner is not None else ""
        if inner is not None and (name in MANAGERS or kind.endswith(".HttpConnectionManager")):
            made = _manager(inner, clusters, names)
        elif inner is not None and (name in PROXIES or kind.endswith(".TcpProxy")):
            made = _proxy(inner, clusters, names, servers if context is None else [])
        else:
            each.fail("name", f"cannot be imported: lbctl has nothing in place of the filter {name}")
            if inner is not None:
                inner.skip(*inner.left())
    if not found:
        node.fail("filters", "is missing")
    if context is not None:
        found_tls = tls.listener_tls(context)
        made |= {"tls": found_tls} if found_tls else {}
    return _for_servers(made, servers)


def _servers(node: Node) -> list[str]:
    found = node.node("filter_chain_match")
    if found is None:
        return []
    found.skip("transport_protocol", "application_protocols")
    for key in ("destination_port", "prefix_ranges", "source_prefix_ranges", "source_type", "source_ports"):
        found.refuse(key, "lbctl tells chains apart by server name alone; write listeners of their own")
    return found.texts("server_names")


def _for_servers(made: Keys, servers: list[str]) -> Keys:
    """A chain's routes for its server names alone, where they name no host themselves."""
    routed = made.get("routes")
    if not servers or not isinstance(routed, list):
        return made
    hosts: Value = list[Value](servers)
    for route in routed:
        found = route.get("match", {}) if isinstance(route, dict) else {}
        if isinstance(route, dict) and isinstance(found, dict) and "host" not in found:
            route["match"] = {"host": hosts, **found}
    return made


def _merge(made: Keys, part: Keys, chain: Node) -> None:
    """A further filter chain, into the listener that the first one made."""
    both_tls = isinstance(made.get("tls"), dict) and isinstance(part.get("tls"), dict)
    if made.get("mode") == part.get("mode") == "http" and (both_tls or "tls" not in {*made, *part}):
        made["routes"] = [*_list(made.get("routes")), *_list(part.get("routes"))]
        if both_tls:
            certificates = [*_list(_inner(made, "certificates")), *_list(_inner(part, "certificates"))]
            made["tls"] = {**_dict(made.get("tls")), "certificates": certificates}
        if made.get("auth") != part.get("auth"):
            chain.report.problems.append(
                Problem(chain.path, "cannot be imported: its auth differs from the first chain's")
            )
    elif made.get("mode") == part.get("mode") == "terminate" and "tls" not in {*made, *part}:
        made["sni"] = {**_dict(made.get("sni")), **_dict(part.get("sni"))}
        made |= {"service": part["service"]} if "service" in part else {}
    else:
        chain.report.problems.append(
            Problem(chain.path, "cannot be imported beside the first chain; write two listeners")
        )


def _list(value: Value) -> list[Value]:
    return value if isinstance(value, list) else []


def _dict(value: Value) -> Keys:
    return value if isinstance(value, dict) else {}


def _inner(made: Keys, key: str) -> Value:
    return _dict(made.get("tls")).get(key)


def _proxy(node: Node, clusters: Mapping[str, Cluster], names: Mapping[str, str], servers: list[str]) -> Keys:
    node.skip("@type", "stat_prefix", "max_connect_attempts", "max_downstream_connection_duration")
    node.refuse("weighted_clusters", "mode terminate has one service")
    node.refuse("tunneling_config", "lbctl tunnels nothing")
    node.differs("not carried over", "access_log", "hash_policy", "metadata_match", "downstream_idle_timeout")
    name = node.text("cluster")
    if name not in names:
        node.fail("cluster", f"there is no cluster {name!r}")
    idle = node.seconds("idle_timeout")
    connect = clusters[name].connect if name in clusters else CONNECT
    times: Keys = {} if connect == CONNECT else {"connect": duration(connect)}
    times |= {} if idle is None else {"idle": duration(idle)}
    service = names.get(name, name)
    where: Keys = {"sni": dict.fromkeys(servers, service)} if servers else {"service": service}
    made: Keys = {"mode": "terminate", **where}
    return made | ({"timeouts": times} if times else {})


def _manager(node: Node, clusters: Mapping[str, Cluster], names: Mapping[str, str]) -> Keys:
    made: Keys = {"mode": "http"}
    node.skip("@type", "stat_prefix")
    node.choice("codec_type", CODECS, "")
    auth = filters(node.nodes("http_filters"))
    made |= _limits(node)
    made |= _log(node)
    node.refuse("rds", "only static routes are imported")
    node.refuse("scoped_routes", "only static routes are imported")
    config = node.node("route_config")
    if config is None:
        node.fail("route_config", "is missing")
        return made
    found = routes(config, clusters, names)
    if found.header:
        auth = {"header": found.header, **auth}
    made |= {"auth": auth} if auth else {}
    made |= {"headers": found.headers} if found.headers else {}
    made["retries"] = 0
    node.report.note(
        "retries: 0 and timeouts.request: 15s are Envoy's defaults; lbctl's are 2 retries, and no such timeout"
    )
    made["routes"] = list[Value](found.routes)
    _ignored(node)
    return made


def _limits(node: Node) -> Keys:
    limits: Keys = {}
    times: Keys = {"request": duration(REQUEST_TIMEOUT)}
    kilobytes = node.number("max_request_headers_kb")
    limits |= {"head": f"{int(kilobytes)}KiB"} if kilobytes else {}
    head = node.seconds("request_headers_timeout")
    limits |= {"head_timeout": duration(head)} if head else {}
    options = node.node("common_http_protocol_options")
    idle = node.seconds("idle_timeout") or (options.seconds("idle_timeout") if options is not None else None)
    limits |= {"idle_timeout": duration(idle)} if idle else {}
    if options is not None:
        count, requests = options.whole("max_headers_count"), options.whole("max_requests_per_connection")
        limits |= {"header_count": count} if count else {}
        limits |= {"requests": requests} if requests else {}
        options.skip("idle_timeout", "headers_with_underscores_action")
        options.differs("not carried over", "max_connection_duration", "max_stream_duration")
    stream = node.seconds("stream_idle_timeout")
    times |= {} if stream is None else {"idle": duration(stream)}
    made: Keys = {"timeouts": times}
    return made | ({"limits": limits} if limits else {})


def _log(node: Node) -> Keys:
    """The access log: where it goes; the format is lbctl's JSON."""
    to: list[str] = []
    for each in node.nodes("access_log"):
        each.text("name")
        inner = each.node("typed_config" if each.has("typed_config") else "config")
        each.differs("lbctl logs every request", "filter")
        if inner is not None:
            path = inner.text("path")
            to.append(path if path and path != "/dev/stdout" else "stdout")
            node.report.note(f"{written_path(each.path)}: lbctl's access log is JSON of its own")
            inner.skip(*inner.left())
    node.differs("lbctl logs a request when it ends", "access_log_options", "access_log_flush_interval")
    return {"access_log": "off" if to[:1] == ["/dev/null"] else to[0]} if to else {"access_log": "off"}


def _ignored(node: Node) -> None:
    node.skip("http_protocol_options", "http2_protocol_options", "http3_protocol_options", "generate_request_id")
    node.skip("preserve_external_request_id", "always_set_request_id_in_response", "normalize_path", "merge_slashes")
    node.skip(
        "path_with_escaped_slashes_action", "strip_matching_host_port", "strip_any_host_port", "delayed_close_timeout"
    )
    node.skip("drain_timeout", "server_name", "add_user_agent", "via", "internal_address_config", "proxy_100_continue")
    node.skip(
        "server_header_transformation",
        "stream_error_on_invalid_http_message",
        "represent_ipv4_remote_address_as_ipv4_mapped_ipv6",
    )
    node.skip("request_timeout", "upgrade_configs")
    node.differs("not carried over", "tracing", "local_reply_config", "request_id_extension", "proxy_status_config")
    advice = "lbctl believes X-Forwarded-* of trusted_proxies alone"
    node.differs(
        advice, "use_remote_address", "xff_num_trusted_hops", "skip_xff_append", "original_ip_detection_extensions"
    )
    node.differs("see auth: mtls", "forward_client_cert_details", "set_current_client_cert_details")
