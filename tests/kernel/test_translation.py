"""What the kernel does to each packet: addresses and ports, and nothing else, in both directions."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

from cli.lab.plan import BALANCER, CLIENT, ECHO_PORT, LISTEN, SERVERS, address_of, source_towards
from cli.trace.sighting import Sighting
from lb4.address import Endpoint, Family
from tests.lab import Balancer, Lab, addresses, greeting, listen

pytestmark = pytest.mark.root

PORT = 80
SERVER = SERVERS[0]
Boxes = tuple[Endpoint, Endpoint]


@pytest.mark.parametrize("mode", ["nat", "gateway"])
@pytest.mark.parametrize("family", ["ip", "ip6"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_addresses_change_and_nothing_else(lb: Balancer, lab: Lab, protocol: str, family: Family, mode: str) -> None:
    lb.apply(f"""version: 1
listeners:
  echo: {{bind: "{Endpoint(LISTEN[family], PORT)}", protocol: {protocol}, mode: {mode}, service: echo}}
services:
  echo: {{backends: [{", ".join(addresses(ECHO_PORT, family, (SERVER,)))}]}}
""")
    with lab.capture(BALANCER) as capture:
        with lab.connect(protocol, listen(PORT, family)) as sock:
            client = Endpoint(address_of(CLIENT, family), sock.getsockname()[1])
            assert greeting(sock, protocol)[0] == SERVER
            sock.send(b"more")
            sock.recv(2000)
        seen = list(capture.waiting())
    source = client if mode == "gateway" else Endpoint(source_towards(SERVER, family), client.port)
    backend = Endpoint(address_of(SERVER, family), ECHO_PORT)
    listener = Endpoint(LISTEN[family], PORT)
    for boxes in (((client, listener), (source, backend)), ((backend, source), (listener, client))):
        before, after = (of(seen, *ends) for ends in boxes)
        assert len(before) >= 2
        assert [rest(packet) for packet in before] == [rest(packet) for packet in after]
        assert all(checksums_hold(packet) for packet in (*before, *after))
    assert len(seen) == sum(len(of(seen, *ends)) for ends in both_ways((client, listener), (source, backend)))


def both_ways(*boxes: Boxes) -> Iterable[Boxes]:
    return [*boxes, *((target, source) for source, target in boxes)]


def of(seen: Iterable[Sighting], source: Endpoint, target: Endpoint) -> list[Packet]:
    """The packets from one end to the other, as scapy reads them."""
    packets = [IPv6(each.data) if each.data[0] >> 4 == 6 else IP(each.data) for each in seen]
    return [packet for packet in packets if ends(packet) == (source, target)]


def ends(packet: Packet) -> Boxes | None:
    """Source and target of a TCP or UDP packet."""
    from lb4.address import parse_ip

    transport = packet.getlayer(TCP) or packet.getlayer(UDP)
    if transport is None:
        return None
    return Endpoint(parse_ip(packet.src), transport.sport), Endpoint(parse_ip(packet.dst), transport.dport)


def rest(packet: Packet) -> bytes:
    """The packet without its addresses, ports, checksums and hops."""
    copy = packet.copy()
    transport = copy.getlayer(TCP) or copy.getlayer(UDP)
    transport.sport = transport.dport = transport.chksum = 0
    if copy.version == 4:
        copy.src = copy.dst = "0.0.0.0"
        copy.ttl = copy.chksum = 0
    else:
        copy.src = copy.dst = "::"
        copy.hlim = 0
    return bytes(copy)


def checksums_hold(packet: Packet) -> bool:
    """Whether scapy computes the same checksums."""
    copy = packet.copy()
    for layer in (IP, TCP, UDP):
        if layer in copy and hasattr(copy[layer], "chksum"):
            del copy[layer].chksum
    return bytes(copy) == bytes(packet)
