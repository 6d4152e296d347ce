"""The lab's namespaces, cables, addresses and routes, made by netlink.

The rule: a lab is its prefix. Everything of it is found by that name, so that it can be taken down whoever made it,
and two labs of different prefixes do not meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute, NetlinkError

from cli.lab import namespaces, offload
from cli.lab.plan import (
    BALANCER,
    CLIENT,
    CROWD4,
    CROWD6,
    LISTEN,
    NODES,
    OTHER_LISTEN,
    WIRES,
    Wire,
)
from lb4.address import IPAddress
from lb4.model import IPNetwork

NODE_INTERFACE = "eth0"

FORWARD = {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}
SYSCTLS = {
    BALANCER: FORWARD | {"net/ipv4/conf/all/accept_local": "1"},
    CLIENT: {"net/ipv6/ip_nonlocal_bind": "1"},
}
"""accept_local: mode `packet` sends replies with a local address of the balancer through it."""


@dataclass(frozen=True, slots=True)
class Names:
    """How one lab's namespaces are called."""

    prefix: str

    def namespace(self, node: str) -> str:
        """The namespace of a node."""
        return f"{self.prefix}{node}"


def up(prefix: str, offloads: bool = False) -> None:
    """Makes the lab. What stood under these names before is taken down first. Raises OSError."""
    down(prefix)
    lab = Names(prefix)
    for node in NODES:
        namespaces.create(lab.namespace(node))
    for wire in WIRES:
        _lay(lab, wire)
    for node in NODES:
        _finish(lab, node)
    if not offloads:
        _as_on_a_wire(lab)


def down(prefix: str) -> None:
    """Takes the lab down with all that runs in it. One that is not there is no error."""
    for node in NODES:
        name = f"{prefix}{node}"
        namespaces.end_processes(name)
        namespaces.remove(name)


def is_up(prefix: str) -> bool:
    """Whether every node's namespace is there."""
    return all((namespaces.NAMES / f"{prefix}{node}").exists() for node in NODES)


@contextmanager
def routing(namespace: str) -> Iterator[IPRoute]:
    """A route netlink socket of the namespace. Raises OSError for what the kernel refuses."""
    try:
        with namespaces.inside(namespace), IPRoute() as route:
            yield route
    except NetlinkError as error:
        raise OSError(error.code, f"{namespace}: {error.args[1]}") from error


def write_sysctl(namespace: str, key: str, value: str) -> None:
    """Sets one of /proc/sys's network settings (`net/ipv4/ip_forward`) in the namespace."""
    with namespaces.inside(namespace):
        Path("/proc/sys", key).write_text(value)


def _lay(lab: Names, wire: Wire) -> None:
    with routing(lab.namespace(BALANCER)) as route:
        far = {"ifname": NODE_INTERFACE, "net_ns_fd": lab.namespace(wire.node)}
        route.link("add", ifname=wire.node, kind="veth", peer=far)
        listen = (*LISTEN.values(), *OTHER_LISTEN.values()) if wire.node == CLIENT else ()
        _address(route, wire.node, wire, wire.balancer, listen)
    with routing(lab.namespace(wire.node)) as route:
        _address(route, NODE_INTERFACE, wire, wire.far)
        for gateway in wire.balancer:
            route.route("add", dst="default", gateway=str(gateway), family=_af(gateway))


def _address(
    route: IPRoute, interface: str, wire: Wire, own: tuple[IPAddress, IPAddress], more: tuple[IPAddress, ...] = ()
) -> None:
    index = route.link_lookup(ifname=interface)[0]
    Path("/proc/sys/net/ipv6/conf", interface, "accept_dad").write_text("0")
    route.link("set", index=index, state="up")
    networks: tuple[IPNetwork, ...] = wire.networks
    for ip, network in zip(own, networks, strict=True):
        route.addr("add", index=index, address=str(ip), prefixlen=network.prefixlen)
    for ip in more:
        route.addr("add", index=index, address=str(ip), prefixlen=ip.max_prefixlen)


def _finish(lab: Names, node: str) -> None:
    with routing(lab.namespace(node)) as route:
        lo = route.link_lookup(ifname="lo")[0]
        route.link("set", index=lo, state="up")
        for network, gateway in zip((CROWD4, CROWD6), WIRES[0].far, strict=True):
            if node == CLIENT:
                route.route("add", dst=str(network), type="local", scope=254, table=255, oif=lo, family=_af(gateway))
            if node == BALANCER:
                route.route("add", dst=str(network), gateway=str(gateway), family=_af(gateway))
    for key, value in SYSCTLS.get(node, {}).items():
        write_sysctl(lab.namespace(node), key, value)


def _as_on_a_wire(lab: Names) -> None:
    for wire in WIRES:
        for node, interface in ((BALANCER, wire.node), (wire.node, NODE_INTERFACE)):
            with namespaces.inside(lab.namespace(node)):
                offload.turn_off(interface)


def _af(ip: IPAddress) -> int:
    return 2 if ip.version == 4 else 10
