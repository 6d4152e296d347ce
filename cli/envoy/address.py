"""Envoy's addresses as lbctl writes binds and backends.

The rule: an IP address stays one; every other text is a name to look up.
"""

from __future__ import annotations

from ipaddress import ip_address

from cli.config.errors import Problem
from cli.envoy.node import Node
from lb4.address import parse_ip, written


def socket_address(node: Node) -> tuple[str, int] | None:
    """Address and port of an Address with a socket_address; None, and a problem, for every other kind."""
    address = node.node("address") if node.has("address") and not node.has("socket_address") else node
    found = None if address is None else address.node("socket_address")
    if found is None:
        reason = "has no socket_address, the only kind of address that can be imported"
        node.report.problems.append(Problem(node.path, reason))
        return None
    found.refuse("resolver_name", "lbctl looks names up by DNS alone")
    found.skip("ipv4_compat", "protocol")
    if str(found.raw("protocol") or "TCP").upper() != "TCP":
        found.fail("protocol", "cannot be imported: only TCP is")
    port = found.whole("port_value")
    if port is None:
        found.fail("port_value", "is missing")
    return found.text("address"), port or 0


def bind(address: tuple[str, int]) -> str:
    """As a listener's bind."""
    return written(parse_ip(address[0]), str(address[1]))


def backend(address: tuple[str, int]) -> str:
    """As a backend: an address and port, or `dns:NAME:PORT`."""
    return bind(address) if is_ip(address[0]) else f"dns:{address[0]}:{address[1]}"


def is_ip(text: str) -> bool:
    """Whether the text is an address and no name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
