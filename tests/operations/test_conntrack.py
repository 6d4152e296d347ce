"""Conntrack over netlink, against flows that nft translated."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from lb4.address import parse_ip
from lb4.conntrack.message import EventKind
from lb4.conntrack.table import ConntrackEvents, EventsLost, KernelConntrack
from lb4.flow import Flow
from lb4.model import Protocol
from tests.operations.balancer import Balancer, asked, asked_by_udp
from tests.packet.network import BIND, BIND6, CLIENT, CLIENT6, SERVERS

pytestmark = pytest.mark.root

RULES = f"""
table inet translating {{
  chain prerouting {{
    type nat hook prerouting priority -100
    ip daddr {BIND} tcp dport 80 dnat ip to {SERVERS[0]}:8080
    ip daddr {BIND} udp dport 53 dnat ip to {SERVERS[1]}:5353
    ip6 daddr {BIND6} udp dport 53 dnat ip6 to [{BIND6}]:5354
  }}
  chain counting {{
    ct bytes > 0
  }}
}}
"""


@pytest.fixture
def translating(lb: Balancer) -> Iterator[Balancer]:
    path = lb.directory / "rules.nft"
    path.write_text(RULES)
    lb.nft("-f", str(path))
    with lb.network.inside("lb"):
        yield lb


def test_a_flow_has_its_four_addresses_state_and_counts(translating: Balancer) -> None:
    with translating.connected() as client:
        assert asked(client) == "server0"
        (flow,) = KernelConntrack().flows()
        port = client.getsockname()[1]
    assert (flow.protocol, flow.state) == (Protocol.TCP, "ESTABLISHED")
    ends = [str(end) for end in (flow.client, flow.target, flow.source, flow.backend)]
    assert ends == [f"{CLIENT}:{port}", f"{BIND}:80", f"{CLIENT}:{port}", f"{SERVERS[0]}:8080"]
    assert all(count >= 2 for count in flow.packets)
    assert all(count > 100 for count in flow.bytes)
    assert flow.timeout > 100_000
    assert flow.id


def test_ipv6(translating: Balancer) -> None:
    with translating.network.inside("client"):
        client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with closing(client):
        client.sendto(b"?", (BIND6, 53))
        (flow,) = KernelConntrack().flows()
    assert flow.client.ip == parse_ip(CLIENT6)
    assert (str(flow.target), str(flow.backend)) == (f"[{BIND6}]:53", f"[{BIND6}]:5354")


def test_what_is_not_translated_is_left_out_unless_asked_for(translating: Balancer) -> None:
    with translating.client(socket.SOCK_DGRAM) as client:
        client.sendto(b"?", (SERVERS[0], 9))
        assert list(KernelConntrack().flows()) == []
        (flow,) = KernelConntrack().flows(translated=False)
    assert str(flow.backend) == f"{SERVERS[0]}:9"


def test_ending_one_flow_and_no_other(translating: Balancer) -> None:
    tracked = KernelConntrack()
    with translating.client(socket.SOCK_DGRAM) as one, translating.client(socket.SOCK_DGRAM) as two:
        asked_by_udp(one), asked_by_udp(two)
        first = next(flow for flow in tracked.flows() if flow.client.port == one.getsockname()[1])
        assert tracked.end([first, first]) == 1
        assert [flow.client.port for flow in tracked.flows()] == [two.getsockname()[1]]
        assert tracked.end([first]) == 0
        assert tracked.end([]) == 0


def test_thousands(translating: Balancer) -> None:
    tracked = KernelConntrack()
    with translating.client(socket.SOCK_DGRAM) as client:
        for port in range(3000):
            client.sendto(b"?", (SERVERS[0], 10_000 + port))
    flows = [flow for flow in tracked.flows(translated=False) if flow.protocol is Protocol.UDP]
    assert len({flow.target for flow in flows}) == 3000
    assert tracked.count() >= 3000
    assert tracked.end(flows) == 3000


def test_events_of_a_connection(translating: Balancer) -> None:
    events = ConntrackEvents()
    with closing(events):
        with translating.connected() as client:
            asked(client)
            port = client.getsockname()[1]
        seen = until(events, lambda kind, flow: flow.state == "TIME_WAIT", port)
        tracked = KernelConntrack()
        tracked.end(tracked.flows())
        seen += until(events, lambda kind, flow: kind is EventKind.DESTROY, port)
    assert seen[0] == (EventKind.NEW, "SYN_SENT")
    assert (EventKind.UPDATE, "ESTABLISHED") in seen
    assert seen[-1][0] is EventKind.DESTROY


def until(events: ConntrackEvents, last: Callable[[EventKind, Flow], bool], port: int) -> list[tuple[EventKind, str]]:
    """The events of one client's flow until one that is the last."""
    seen: list[tuple[EventKind, str]] = []
    while select.select([events], [], [], 5)[0]:
        for event in events.read():
            if event.flow.client.port != port:
                continue
            seen.append((event.kind, event.flow.state))
            if last(event.kind, event.flow):
                return seen
    pytest.fail(f"the event did not come; there were {seen}")


def test_lost_events_are_told(translating: Balancer) -> None:
    events = ConntrackEvents(buffer=4096)
    with closing(events), translating.client(socket.SOCK_DGRAM) as client:
        for port in range(500):
            client.sendto(b"?", (SERVERS[0], 10_000 + port))
        with pytest.raises(EventsLost):
            drained(events)


def drained(events: ConntrackEvents) -> int:
    return sum(len(read) for read in iter(events.read, []))
