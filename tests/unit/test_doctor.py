"""What doctor finds, from facts."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from lb4.address import parse_bind, parse_endpoint
from lb4.doctor.findings import CONNTRACK, FORWARD4, FORWARD6, Facts, Finding, ForeignChain, findings
from lb4.model import Backend, Balancer, HealthCheck, Listener, Mode, Protocol, Service

WELL = {
    FORWARD4: "1",
    FORWARD6: "1",
    CONNTRACK + "max": "262144",
    CONNTRACK + "buckets": "65536",
    CONNTRACK + "tcp_timeout_established": "432000",
}
INTERFACE = {"eth0": 1500}


def balancer(mode: Mode = Mode.NAT, bind: str = "192.0.2.10:80", health: HealthCheck | None = None) -> Balancer:
    web = Service("web", (Backend(parse_endpoint("10.0.1.2:80")),), health=health)
    return Balancer({"web": Listener("web", (parse_bind(bind),), mode=mode, service="web")}, {"web": web})


def facts(interfaces: dict[str, int] | None = None, **settings: str) -> Facts:
    more = {key.replace("__", "/"): value for key, value in settings.items()}
    return Facts(settings={**WELL, **more}, interfaces=interfaces or INTERFACE)


def wrong(found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.level != "ok"]


def test_a_host_in_order_has_no_fault() -> None:
    assert wrong(findings(facts(), balancer())) == []


def test_packet_modes_own_queue_takes_jumbo_frames() -> None:
    well = replace(facts({"eth0": 9000}), run=True)
    assert [f.name for f in wrong(findings(well, balancer(Mode.PACKET)))] == []


@pytest.mark.parametrize("family", ["bridge", "arp", "netdev"])
def test_hooks_that_forwarded_packets_do_not_pass(family: str) -> None:
    theirs = (ForeignChain(family, "theirs", "x", "filter", "forward", 0, "drop"),)
    assert wrong(findings(replace(facts(), chains=theirs), balancer())) == []


FULL = Facts(settings=WELL, interfaces=INTERFACE, tracked=250_000)
PORTS = Facts(settings=WELL, ports={(Protocol.TCP, ip_address("10.0.1.1"), parse_endpoint("10.0.1.2:80")): 60_000})
DROPS = ForeignChain("inet", "filter", "forward", "filter", "forward", 0, "drop")
DOCKER = ForeignChain("ip", "nat", "PREROUTING", "nat", "prerouting", -100, "accept")


@pytest.mark.parametrize(
    ("seen", "of", "level", "name", "fix", "safe"),
    [
        (facts(net__ipv4__ip_forward="0"), balancer(), "problem", "IPv4 forwarding", "net.ipv4.ip_forward=1", True),
        (
            facts(net__ipv6__conf__all__forwarding="0"),
            balancer(bind="[2001:db8::10]:80"),
            "problem",
            "IPv6 forwarding",
            "net.ipv6.conf.all.forwarding=1",
            True,
        ),
        (
            facts(net__ipv4__conf__eth0__rp_filter="1"),
            balancer(),
            "warning",
            "rp_filter",
            "net.ipv4.conf.eth0.rp_filter=2",
            False,
        ),
        (
            facts({"eth0.5": 1500}, **{"net__ipv4__conf__eth0.5__rp_filter": "1"}),
            balancer(),
            "warning",
            "rp_filter",
            "net/ipv4/conf/eth0.5/rp_filter=2",
            False,
        ),
        (
            facts(net__ipv4__conf__all__accept_local="0", net__ipv4__conf__eth0__accept_local="0"),
            balancer(Mode.PACKET),
            "problem",
            "accept_local",
            "net.ipv4.conf.eth0.accept_local=1",
            True,
        ),
        (
            replace(facts({"eth0": 9000}), packet_limit=4016),
            balancer(Mode.PACKET),
            "problem",
            "MTU",
            "ip link set eth0 mtu 1500",
            False,
        ),
        (facts(**{FORWARD4: "0"}), balancer(Mode.PACKET), "problem", "IPv4 forwarding", "ip_forward=1", True),
        (FULL, balancer(), "problem", "conntrack size", "nf_conntrack_max=524288", True),
        (Facts(settings={FORWARD4: "1"}), balancer(), "problem", "conntrack", "modprobe nf_conntrack", False),
        (PORTS, balancer(), "problem", "source ports", "snat", False),
        (Facts(settings=WELL, chains=(DROPS,)), balancer(), "warning", "other tables", "ct status dnat accept", False),
        (Facts(settings=WELL, chains=(DOCKER,)), balancer(), "warning", "other tables", "PREROUTING", False),
        (Facts(settings=WELL, legacy_tables=("nat",)), balancer(), "warning", "other tables", "legacy", False),
        (facts(), balancer(health=HealthCheck("tcp")), "problem", "lbctl run", "systemctl start lbctl", False),
        (
            Facts(settings=WELL, features=frozenset(), run=True),
            balancer(Mode.PACKET),
            "problem",
            "packet queue",
            "modprobe nft_queue",
            False,
        ),
        (
            facts(net__ipv4__ip_local_port_range="32768\t40000"),
            balancer(Mode.HTTP),
            "warning",
            "local ports",
            "ip_local_port_range",
            False,
        ),
    ],
)
def test_faults(*, seen: Facts, of: Balancer, level: str, name: str, fix: str, safe: bool) -> None:
    found = [finding for finding in wrong(findings(seen, of)) if finding.name == name]
    assert [(finding.level, finding.safe) for finding in found] == [(level, safe)]
    assert fix in found[0].fix


def test_ipv6_forwarding_is_not_switched_on_unasked_where_it_would_cost_the_default_route() -> None:
    seen = Facts(settings={**WELL, FORWARD6: "0"}, ra_default_route=True)
    found = wrong(findings(seen, balancer(bind="[2001:db8::10]:80")))
    assert [finding.safe for finding in found] == [False]
    assert "accept_ra=2" in found[0].what


def test_families_that_nothing_listens_on_are_not_looked_at() -> None:
    assert wrong(findings(facts(net__ipv6__conf__all__forwarding="0"), balancer())) == []


def test_conntrack_is_missed_only_where_it_is_needed() -> None:
    seen = Facts(settings={FORWARD4: "1"})
    assert [f.level for f in findings(seen, Balancer({}, {})) if f.name == "conntrack"] == ["ok"]
