"""The address plan of the lab: who stands where, with which addresses.

The rule: every address of the lab, its tests and its demo is written here and nowhere else.

    client ---- 10.0.0.0/24 ---- balancer ---- 10.0.1.0/24 ---- server1
      10.0.0.2          10.0.0.1      \\------- 10.0.2.0/24 ---- server2
      2001:db8::2       192.0.2.10     \\------ 10.0.3.0/24 ---- server3
                        2001:db8::10
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from lb4.address import FAMILIES, Family, IPAddress

CLIENT = "client"
BALANCER = "balancer"
SERVERS = ("server1", "server2", "server3")
NODES = (CLIENT, BALANCER, *SERVERS)

LISTEN4 = IPv4Address("192.0.2.10")
LISTEN6 = IPv6Address("2001:db8::10")
LISTEN: dict[Family, IPAddress] = {"ip": LISTEN4, "ip6": LISTEN6}
"""Where listeners are bound: addresses of the balancer on the client's network."""

OTHER_LISTEN4 = IPv4Address("192.0.2.11")
OTHER_LISTEN6 = IPv6Address("2001:db8::11")
OTHER_LISTEN: dict[Family, IPAddress] = {"ip": OTHER_LISTEN4, "ip6": OTHER_LISTEN6}
"""A second pair of listener addresses."""

CROWD4 = IPv4Network("10.128.0.0/16")
CROWD6 = IPv6Network("2001:db8:c::/64")
"""Networks that are wholly the client's own: it may speak from any address of them, to be many clients."""

HTTP_PORTS = (8080, 8181)
ECHO_PORT = 9000
RANGE_PORTS = range(30000, 30010)
DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class Wire:
    """A cable between the balancer and one node; `number` is the network's number in both families."""

    number: int
    node: str

    @property
    def networks(self) -> tuple[IPv4Network, IPv6Network]:
        """Its IPv4 /24 and its IPv6 /64."""
        middle = f":{self.number}" if self.number else ""
        return IPv4Network(f"10.0.{self.number}.0/24"), IPv6Network(f"2001:db8{middle}::/64")

    @property
    def balancer(self) -> tuple[IPAddress, IPAddress]:
        """The balancer's address of each family on this wire."""
        four, six = self.networks
        return four[1], six[1]

    @property
    def far(self) -> tuple[IPAddress, IPAddress]:
        """The node's address of each family."""
        four, six = self.networks
        return four[2], six[2]


DOMAIN = "lab"
"""`server1.lab` is server1, `servers.lab` all of them."""

WIRES = (Wire(0, CLIENT), *(Wire(number, server) for number, server in enumerate(SERVERS, start=1)))


def wire_of(node: str) -> Wire:
    """The wire that a node other than the balancer hangs on."""
    return next(wire for wire in WIRES if wire.node == node)


def address_of(node: str, family: Family = "ip") -> IPAddress:
    """A node's address; the balancer's is its listener address."""
    if node == BALANCER:
        return LISTEN[family]
    return wire_of(node).far[FAMILIES.index(family)]


def source_towards(server: str, family: Family = "ip") -> IPAddress:
    """The balancer's own address on a server's network: what the server sees as client in mode `nat`."""
    return wire_of(server).balancer[FAMILIES.index(family)]


def server_at(ip: IPAddress) -> str:
    """The name of the server that has this address. Raises KeyError."""
    return {ip: wire.node for wire in WIRES if wire.node in SERVERS for ip in wire.far}[ip]


NAME_SERVER = address_of(SERVERS[0])
"""The node that answers DNS for the lab."""
