"""A whole Envoy document as an lbctl configuration in YAML.

The rule: all that cannot be imported is told at once, each with its place; what differs stands as a comment above
what was made of it. A fragment (one cluster, a list of clusters or listeners) is a document too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

from cli.config.document import DocumentError, Place, Value, place_at, read
from cli.config.errors import ConfigError, KeyPath, Problem
from cli.envoy.cluster import Cluster, cluster
from cli.envoy.listener import listener
from cli.envoy.node import Node, Report

Keys = dict[str, Value]
NOT_NAME = re.compile(r"[^A-Za-z0-9._-]+")
CLUSTER_KEYS = frozenset(("hosts", "load_assignment", "loadAssignment", "lb_policy", "lbPolicy", "connect_timeout"))
LISTENER_KEYS = frozenset(("filter_chains", "filterChains"))
IRRELEVANT = ("node", "layered_runtime", "runtime", "stats_config", "stats_flush_interval", "bootstrap_extensions")
EXAMPLE = """\
# The fragment has no listener. One for the service:
# listeners:
#   web: {{bind: "0.0.0.0:80", mode: http, service: {service}}}
"""


def imported(text: str, origin: str) -> str:
    """The lbctl configuration, as YAML with comments. Raises ConfigError with all that cannot be imported."""
    try:
        value, place = read(text)
    except DocumentError as error:
        raise ConfigError(origin, [error.problem]) from None
    report = Report()
    made = _document(value, report)
    problems = [*report.problems, *report.unread()]
    if problems:
        raise ConfigError(origin, _placed(problems, place))
    return written(made, report.notes, origin)


def _placed(problems: Iterable[Problem], root: Place) -> list[Problem]:
    found = []
    for problem in dict.fromkeys(problems):
        line, path = place_at(root, problem.path)
        found.append(Problem(path, problem.message, line))
    return sorted(found, key=lambda problem: problem.line or 0)


def _document(value: Value, report: Report) -> Keys:
    listeners, clusters = _parts(value, report)
    names = _names([node.text("name") for node in clusters], "service")
    made = {node.text("name"): cluster(node) for node in clusters}
    listened = _names([_listener_name(node) for node in listeners], "listener")
    documents: Keys = {new: listener(node, made, names) for new, node in zip(listened.values(), listeners, strict=True)}
    services: Keys = {names[name]: dict(each.keys) for name, each in made.items()}
    _twice(clusters, made)
    if not listeners and not clusters and not report.problems:
        report.problems.append(Problem((), "holds neither listeners nor clusters of Envoy"))
    parts: Keys = {"listeners": documents, "services": services}
    return {key: part for key, part in parts.items() if part}


def _twice(nodes: list[Node], made: dict[str, Cluster]) -> None:
    seen: set[str] = set()
    for node in nodes if len(nodes) != len(made) else ():
        name = node.text("name")
        if name in seen:
            node.fail("name", f"another cluster is named {name!r}")
        seen.add(name)


def _listener_name(node: Node) -> str:
    return node.text("name") or f"listener-{_port(node)}"


def _port(node: Node) -> str:
    address: Any = node.raw("address")
    socket = address.get("socket_address") or address.get("socketAddress") if isinstance(address, dict) else None
    port = (socket.get("port_value") or socket.get("portValue")) if isinstance(socket, dict) else None
    return str(port or "1")


def _names(given: list[str], standard: str) -> dict[str, str]:
    """A name of lbctl's form for each of Envoy's, each its own."""
    taken: dict[str, str] = {}
    for number, name in enumerate(given):
        plain = NOT_NAME.sub("-", name).strip("-._")[:60] or standard
        free = plain if plain not in taken.values() else f"{plain[:56]}-{number + 1}"
        taken[name if name not in taken else f"{name}\0{number}"] = free
    return taken


def _parts(value: Value, report: Report) -> tuple[list[Node], list[Node]]:
    """The listeners and clusters of a document or fragment."""
    if isinstance(value, list):
        return _listed(value, (), report)
    if not isinstance(value, dict):
        report.problems.append(Problem((), "is no mapping: not a configuration of Envoy"))
        return [], []
    if CLUSTER_KEYS & set(value) and "clusters" not in value:
        return [], [Node(value, (), report)]
    if LISTENER_KEYS & set(value):
        return [Node(value, (), report)], []
    return _bootstrap(Node(value, (), report))


def _listed(value: list[Value], path: KeyPath, report: Report) -> tuple[list[Node], list[Node]]:
    nodes = [Node(each, (*path, number), report) for number, each in enumerate(value) if isinstance(each, dict)]
    listeners = [node for node in nodes if node.has("filter_chains")]
    return listeners, [node for node in nodes if node not in listeners]


def _bootstrap(root: Node) -> tuple[list[Node], list[Node]]:
    if root.has("resources"):
        root.skip("version_info")
        found = root.nodes("resources")
        for node in found:
            node.skip("@type")
        listeners = [node for node in found if node.has("filter_chains")]
        return listeners, [node for node in found if node not in listeners]
    root.differs("lbctl has `metrics: {bind: ADDRESS:PORT}` and a control socket", "admin")
    for key in ("dynamic_resources", "cluster_manager", "hds_config", "tracing", "stats_sinks", "overload_manager"):
        root.refuse(key, "only static_resources are imported")
    root.skip("@type", *IRRELEVANT)
    holder = root.node("static_resources") if root.has("static_resources") else root
    if holder is None:
        return [], []
    holder.refuse("secrets", "write the file names where they are used")
    return holder.nodes("listeners"), holder.nodes("clusters")


class _Dumper(yaml.SafeDumper):
    """YAML with its lists indented."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """As PyYAML's, never without indentation."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        """Everything is written out where it stands."""
        return True


def written(made: Keys, notes: list[str], origin: str) -> str:
    """The configuration as YAML, its comments first."""
    head = [f"# Imported from {origin}, a configuration of Envoy."]
    head += ["# What differs from it:", *(f"# - {note}" for note in notes)] if notes else []
    body = yaml.dump({"version": 1, **made}, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    services = made.get("services")
    example = (
        EXAMPLE.format(service=next(iter(services))) if "listeners" not in made and isinstance(services, dict) else ""
    )
    return "\n".join(head) + "\n" + body + example
