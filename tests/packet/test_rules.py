"""Packet mode's rules: every packet of a flow finds the same worker, nothing else is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lb4.address import parse_bind, parse_endpoint
from lb4.compile.table import PacketQueues, compile_table
from lb4.model import Backend, Balancer, Listener, Mode, Protocol, Service
from lb4.nft.field import Verdict
from lb4.nft.ruleset import Set, Table
from lb4.nft.statement import Notrack, Queue
from lb4.packet.ports import PortRange
from lb4.packet.rules import STRIPE, joined, queue_chain, worker_of
from lb4.packet.setup import Setup
from tests.packet.setting import balancer


def chain_at(found: Set, *key: bytes) -> str | None:
    """The chain that an interval map sends a key to."""
    for element in found.elements:
        if all(
            low <= each <= high for low, each, high in zip(element.low, key, element.high or element.low, strict=True)
        ):
            assert isinstance(element.data, Verdict)
            return element.data.chain
    return None


def port(number: int) -> bytes:
    return number.to_bytes(2, "big")


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_both_directions_find_the_same_worker(workers: int) -> None:
    table = compile_table(balancer(), None, PacketQueues(workers))
    setups = [Setup(balancer(), worker=worker, workers=workers) for worker in range(workers)]
    for client in (1, STRIPE - 1, STRIPE, 4711, 40000, 65535):
        worker = worker_of(client, workers)
        assert chain_at(table.sets["packet-workers"], port(client)) == queue_chain(worker)
        for own in (setups[worker].own_ports.first, setups[worker].own_ports.last):
            reply = (bytes([10, 0, 1, 2]), b"\x06", port(8080), port(own))
            assert chain_at(table.sets["packet-replies4"], *reply) == queue_chain(worker)


def test_packets_are_untracked_in_the_rule_that_queues_them() -> None:
    table = compile_table(balancer(), None, PacketQueues(2, xtables=True))
    for worker in range(2):
        (rule,) = table.chains[queue_chain(worker)].rules
        queue = Setup(balancer(), worker=worker, workers=2).queue
        assert rule.statements == (Notrack(), Queue(queue, queue, bypass=False, xtables=True))


def test_a_balancer_without_packet_listeners_has_none_of_it() -> None:
    setting = balancer(Mode.NAT)
    assert compile_table(setting, None, PacketQueues()) == compile_table(setting)
    assert compile_table(balancer(Mode.PACKET)) == Table()


def test_a_backend_without_a_port_answers_from_the_listeners_ports() -> None:
    binds = (parse_bind("192.0.2.10:3000-3009"), parse_bind("192.0.2.10:3005-3020"))
    listener = Listener("ftp", binds[:1], Protocol.TCP, Mode.PACKET, "ftp")
    other = replace(listener, name="more", binds=binds[1:])
    service = Service("ftp", (Backend(parse_endpoint("10.0.1.2")),))
    table = compile_table(Balancer({"ftp": listener, "more": other}, {"ftp": service}), None, PacketQueues())
    (element,) = table.sets["packet-replies4"].elements
    assert (element.low[2], element.high and element.high[2]) == (port(3000), port(3020))
    assert len(table.sets["packet-listener-ranges4"].elements) == 2


@pytest.mark.parametrize(
    ("spans", "wanted"),
    [({(1, 1)}, [(1, 1)]), ({(1, 5), (3, 9)}, [(1, 9)]), ({(1, 2), (4, 5)}, [(1, 2), (4, 5)])],
)
def test_joined(spans: set[tuple[int, int]], wanted: list[tuple[int, int]]) -> None:
    assert joined(spans) == wanted


def test_parts_of_a_range_do_not_meet() -> None:
    parts = [PortRange(100, 199).part(i, 3) for i in range(3)]
    taken = [number for part in parts for number in range(part.first, part.last + 1)]
    assert len(taken) == len(set(taken)) == 99
