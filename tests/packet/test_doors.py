"""Who is let in and where to: limits of all workers and of what is going on, affinity to what may get new flows."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import pytest

from lb4.ledger import shared_memory, shared_with
from lb4.model import Affinity, Balancer, Health, Limits, Rate
from lb4.packet.host import mtus
from lb4.packet.part import PacketPart
from lb4.packet.service import PacketService
from tests.packet.segments import backends_of, datagram, reply, segment
from tests.packet.setting import ROUTES, balancer, translator


@pytest.mark.parametrize("limits", [Limits(connections=1), Limits(connections_per_client=1)])
def test_a_connection_that_is_over_counts_against_no_limit(limits: Limits) -> None:
    """Its flow is kept for late segments, and the next one is let in all the same."""
    setting = balancer()
    web = replace(setting.listeners["web"], limits=limits)
    core = translator(replace(setting, listeners={"web": web}))
    assert isinstance(core.step(segment("S", 1), 1.0), bytearray)
    assert not isinstance(core.step(segment("S", 2), 1.0), bytearray)
    core.step(reply(core, "RA", 1), 1.0)
    assert isinstance(core.step(segment("S", 3), 1.0), bytearray)
    core.reconfigure(core.setup)
    assert not isinstance(core.step(segment("S", 4), 1.0), bytearray)
    core.table.expire(100.0)
    assert [isinstance(core.step(segment("S", port), 100.0), bytearray) for port in (5, 6)] == [True, False]


def test_limits_are_of_all_workers_together() -> None:
    setting = balancer()
    limited = {
        "web": replace(setting.listeners["web"], limits=Limits(connections=2)),
        "dns": replace(setting.listeners["dns"], limits=Limits(new_connections=Rate(2, 60))),
    }
    part = PacketPart(replace(setting, listeners=limited), workers=2)
    memory = shared_memory(2)
    workers = [PacketService(part, n, None, print, shared_with(n, (str(memory), "2"))).translator for n in (0, 1)]
    os.close(memory)
    for core in workers:
        core.setup = replace(core.setup, routes=ROUTES)
    for packet in (segment, datagram):
        asked = [packet("S", port) if packet is segment else packet(b"x", port) for port in range(1, 5)]
        answers = [workers[n % 2].step(data, 1.0) for n, data in enumerate(asked)]
        assert [isinstance(answer, bytearray) for answer in answers] == [True, True, False, False]


@pytest.mark.parametrize(("health", "panic", "keeps"), [
    (Health.UP, 0.0, True), (Health.DOWN, 0.0, False), (Health.DOWN, 0.9, True),
])  # fmt: skip
def test_affinity_to_a_backend_that_is_down(health: Health, panic: float, keeps: bool) -> None:
    setting = balancer(backends=2)
    service = replace(setting.services["web"], affinity=Affinity(), panic_threshold=panic)
    core = translator(replace(setting, services={"web": service}))
    core.step(segment("S"), 1.0)
    (before,) = backends_of(core)
    found = tuple(replace(b, health=health) if str(b) == before else b for b in service.backends)
    changed = replace(setting, services={"web": replace(service, backends=found)})
    core.reconfigure(replace(core.setup, balancer=changed))
    core.step(segment("S", 41001), 2.0)
    assert (set(backends_of(core)) == {before}) is keeps


def test_affinity_to_a_backup_ends_when_others_are_back() -> None:
    setting = balancer(backends=2)
    first, second, *six = setting.services["web"].backends
    service = replace(setting.services["web"], affinity=Affinity())

    def found(health: Health) -> Balancer:
        backends = (replace(first, health=health), replace(second, backup=True), *six)
        return replace(setting, services={"web": replace(service, backends=backends)})

    core = translator(found(Health.DOWN))
    core.step(segment("S"), 1.0)
    core.reconfigure(replace(core.setup, balancer=found(Health.UP)))
    core.step(segment("S", 41001), 2.0)
    assert backends_of(core) == [str(second), str(first)]


def test_an_interface_that_goes_while_mtus_are_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    there = socket.if_nameindex()
    monkeypatch.setattr(socket, "if_nameindex", lambda: [*there, (9999, "lbt-gone")])
    assert mtus().keys() == {name for _, name in there} - {"lo"}
