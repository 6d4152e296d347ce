"""What lasts: flows over a change of configuration and over the death of a worker, ports that rest."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import raw

from lb4.address import parse_endpoint
from lb4.model import AdminState
from lb4.packet.flow_file import FlowFile
from lb4.packet.ports import PortRange, Ports
from tests.packet.network import BIND6, CLIENT6
from tests.packet.segments import backends_of, datagram, reply, segment
from tests.packet.setting import balancer, translator


def test_reconfiguring_ends_the_flows_of_what_is_gone_alone() -> None:
    setting = balancer(backends=2)
    core = translator(setting)
    for i in range(4):
        core.step(segment("S", port=41000 + i), 1.0)
    smaller = balancer(backends=1)
    assert core.reconfigure(replace(core.setup, balancer=smaller)) == 2
    assert set(backends_of(core)) == {"10.0.1.2:8080"}
    assert core.table.active == {parse_endpoint("10.0.1.2:8080"): 2}


def test_turns_go_on_over_a_change_of_weights_or_health() -> None:
    core = translator(balancer(backends=2))
    core.step(segment("S", port=1), 1.0)
    core.reconfigure(replace(core.setup, balancer=balancer(backends=2)))
    core.step(segment("S", port=2), 1.0)
    assert backends_of(core) == ["10.0.1.2:8080", "10.0.2.2:8080"]


@pytest.mark.parametrize(
    ("admin", "protocol", "lives"),
    [
        (AdminState.DRAINING, "tcp", True),
        (AdminState.ENABLED, "tcp", False),
        (AdminState.DRAINING, "udp", False),
    ],
)
def test_removal_spares_the_connections_of_what_was_drained(admin: AdminState, protocol: str, lives: bool) -> None:
    core = translator()
    core.step(segment("S") if protocol == "tcp" else datagram(), 1.0)
    service = core.setup.balancer.services["web"]
    for backends in (tuple(replace(b, admin=admin) for b in service.backends), ()):
        changed = replace(core.setup.balancer, services={"web": replace(service, backends=backends)})
        core.reconfigure(replace(core.setup, balancer=changed))
    assert len(core.table) == lives


def test_ports_come_back_in_the_order_they_were_returned() -> None:
    ports = Ports(PortRange(100, 104), seed=987654321)
    taken = [ports.take() for _ in range(6)]
    assert sorted(port for port in taken if port) == [100, 101, 102, 103, 104]
    assert taken[5] is None
    for port in (103, 101):
        ports.give_back(port)
    assert [ports.take(), ports.take(), ports.take()] == [103, 101, None]


def test_a_claimed_port_is_not_given_out_again() -> None:
    ports = Ports(PortRange(100, 104), seed=3)
    assert ports.claim(102)
    assert not ports.claim(102)
    assert not ports.claim(99)
    assert 102 not in [ports.take() for _ in range(5)]
    ports.give_back(102)
    assert ports.take() == 102


def test_the_next_worker_goes_on_with_the_flows(tmp_path: Path) -> None:
    """Nothing is closed or flushed in between: what a killed process wrote is in the file."""
    directory = os.open(tmp_path, os.O_RDONLY)
    core, file = translator(balancer(backends=2)), FlowFile(directory, "flows", 16)
    core.opened, core.moved, core.ended = file.opened, file.moved, file.ended
    for i in range(4):
        core.step(segment("S", port=41000 + i), 1.0)
    core.step(raw(IPv6(src=CLIENT6, dst=BIND6) / UDP(sport=5, dport=80)), 1.0)
    core.step(reply(core, "SA", 41001), 1.0)
    core.step(segment("A", port=41001), 1.0)
    core.table.end(next(iter(core.table)))

    after, again = translator(balancer(backends=2)), FlowFile(directory, "flows", 16)
    for record in again.records():
        assert after.adopt(record.protocol, (record.asked, record.given), record.state, 5.0) is not None
    told = {(f.protocol, f.out.key, f.out.new, f.state, f.backend) for f in core.table}
    assert {(f.protocol, f.out.key, f.out.new, f.state, f.backend) for f in after.table} == told
    assert after.step(segment("PA", 41001, b"go on"), 6.0) == core.step(segment("PA", 41001, b"go on"), 6.0)
    os.close(directory)
