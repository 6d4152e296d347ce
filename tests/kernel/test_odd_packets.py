"""Packets that are no part of a conversation: ICMP errors come back translated, invalid ones reach nobody."""

from __future__ import annotations

import socket

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

from cli.lab import build
from cli.lab.plan import BALANCER, CLIENT, ECHO_PORT, LISTEN, SERVERS, address_of, source_towards
from lb4.address import Endpoint, Family
from tests.lab import Balancer, Lab, greeting, listen

pytestmark = pytest.mark.root

FAMILIES = pytest.mark.parametrize("family", ["ip", "ip6"])
MODES = pytest.mark.parametrize("mode", ["nat", "gateway"])
SERVER = SERVERS[0]
NOBODY = 9999
SMALL_MTU = 1280
DISCOVER = {"ip": (socket.IPPROTO_IP, 10, 14), "ip6": (socket.IPPROTO_IPV6, 23, 24)}
"""linux/in.h, linux/in6.h: level, IP(V6)_MTU_DISCOVER, IP(V6)_MTU."""
PMTUDISC_DO = 2


def file(family: Family, protocol: str, mode: str, port: int = ECHO_PORT) -> str:
    return f"""version: 1
listeners:
  echo: {{bind: "{Endpoint(LISTEN[family], 80)}", protocol: {protocol}, mode: {mode}, service: echo}}
services:
  echo: {{backends: ["{Endpoint(address_of(SERVER, family), port)}"]}}
"""


@FAMILIES
@MODES
def test_nobody_at_the_backends_port(lb: Balancer, lab: Lab, family: Family, mode: str) -> None:
    lb.apply(file(family, "udp", mode, NOBODY))
    with lab.connect("udp", listen(80, family)) as sock:
        sock.send(b"who")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(100)


@FAMILIES
@MODES
def test_a_packet_too_large_for_the_way(lb: Balancer, lab: Lab, family: Family, mode: str) -> None:
    lb.apply(file(family, "udp", mode))
    level, discover, mtu = DISCOVER[family]
    set_mtu(lab, SMALL_MTU)
    try:
        with lab.connect("udp", listen(80, family)) as sock:
            sock.setsockopt(level, discover, PMTUDISC_DO)
            sock.send(b"x" * 1400)
            with pytest.raises(OSError, match="Message too long"):
                sock.recv(100)
            assert sock.getsockopt(level, mtu) == SMALL_MTU
    finally:
        set_mtu(lab, 1500)
        lab.shell(CLIENT, "ip", "route", "flush", "cache")
        lab.shell(CLIENT, "ip", "-6", "route", "flush", "cache")


def set_mtu(lab: Lab, mtu: int) -> None:
    """The MTU of the balancer's wire to the server."""
    with build.routing(lab.namespace(BALANCER)) as route:
        route.link("set", index=route.link_lookup(ifname=SERVER)[0], mtu=mtu)


@FAMILIES
@MODES
def test_invalid_packets_of_a_backend_reach_no_client(lb: Balancer, lab: Lab, family: Family, mode: str) -> None:
    lb.apply(file(family, "tcp", mode))
    with lab.connect("tcp", listen(80, family)) as sock:
        greeting(sock)
        seen_as = Endpoint(address_of(CLIENT, family), sock.getsockname()[1])
        if mode == "nat":
            seen_as = Endpoint(source_towards(SERVER, family), seen_as.port)
        with lab.capture(CLIENT) as capture:
            for flags in ("R", "PA", "SA"):
                send(lab, family, seen_as, flags)
            sock.send(b"still here")
            assert sock.recv(100) == b"still here"
            arrived = [ip_of(each.data) for each in capture.waiting() if not each.outgoing]
    # What an earlier connection still had under way has another port.
    assert {packet.src for packet in arrived if TCP in packet and packet[TCP].dport == seen_as.port} == {
        str(LISTEN[family])
    }


def send(lab: Lab, family: Family, target: Endpoint, flags: str) -> None:
    """A TCP packet of the backend's far from what the connection expects."""
    layer = IP if family == "ip" else IPv6
    packet = layer(src=str(address_of(SERVER, family)), dst=str(target.ip)) / TCP(
        sport=ECHO_PORT, dport=target.port, flags=flags, seq=0x7FFFFFF0, ack=0x12345678, window=100
    )
    with lab.inside(SERVER):
        raw = socket.socket(socket.AF_INET if family == "ip" else socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with raw:
        raw.sendto(bytes(packet), (str(target.ip), 0))


def ip_of(data: bytes) -> Packet:
    """The packet as scapy reads it."""
    return IPv6(data) if data[0] >> 4 == 6 else IP(data)
