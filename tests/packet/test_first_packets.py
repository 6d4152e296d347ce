"""First packets: what is marked, what counts as active, and real connections in nat mode by least-connections."""

from __future__ import annotations

import pickle
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import raw

from lb4.address import Endpoint, parse_endpoint
from lb4.compile import marks
from lb4.compile.table import Assistance
from lb4.conntrack.message import EventKind, FlowEvent
from lb4.flow import Flow
from lb4.model import Mode, Protocol, Scheduler, SchedulerKind
from lb4.packet.activity import PICKED_SECONDS
from lb4.packet.assist import FirstPackets
from lb4.packet.load_scheduler import load_scheduler
from lb4.packet.part import AssistPart
from lb4.packet.picks import picks
from tests.packet.hook import Worker, load, worker
from tests.packet.network import BIND, CLIENT, Network, network
from tests.packet.setting import balancer
from tests.packet.traffic import received, stream, tcp_server

LEAST = SchedulerKind.LEAST_CONNECTIONS
SETTING = balancer(Mode.NAT, backends=2, scheduler=LEAST)
FIRST, SECOND = (parse_endpoint(text) for text in ("10.0.1.2:8080", "10.0.2.2:8080"))


def core() -> FirstPackets:
    return FirstPackets(SETTING, picks(lambda: 0.5, load_scheduler), print)


def syn(port: int) -> bytes:
    return raw(IP(src=CLIENT, dst=BIND) / TCP(sport=port, dport=80, flags="S"))


def event(kind: EventKind, port: int, backend: Endpoint, state: str) -> FlowEvent:
    ends = (parse_endpoint(text) for text in (f"{CLIENT}:{port}", f"{BIND}:80", f"10.0.1.1:{port}"))
    return FlowEvent(kind, Flow(Protocol.TCP, *ends, backend, state=state))


def counts(assist: FirstPackets) -> tuple[int, int]:
    active = assist.activity.active("web")
    return active.get(FIRST, 0), active.get(SECOND, 0)


def picked(assist: FirstPackets, port: int, now: float = 1.0) -> int | None:
    mark = assist.mark(syn(port), 0, now)
    return None if mark is None else marks.index_of(mark)


def test_flows_are_spread_and_marked() -> None:
    assist = core()
    assert [picked(assist, port) for port in range(1, 5)] == [0, 1, 0, 1]
    assert counts(assist) == (2, 2)


def test_other_bits_of_the_mark_are_kept() -> None:
    assert core().mark(syn(1), 0x1234, 1.0) == 0x1234 | marks.mark_of(0)


def test_a_retransmit_keeps_its_backend_and_counts_once() -> None:
    assist = core()
    first = picked(assist, 1)
    assert [picked(assist, 1, now) for now in (2.0, 4.0, 8.0)] == [first] * 3
    assert counts(assist) == (1, 0)


@pytest.mark.parametrize("data", [b"", b"\x45", raw(IP(src=CLIENT, dst="1.2.3.4") / UDP()), syn(1)[:30]])
def test_what_is_not_ours_is_left_to_the_kernel(data: bytes) -> None:
    assert core().mark(data, 0, 1.0) is None


def test_counts_follow_conntrack() -> None:
    assist = core()
    for port in (1, 2):
        picked(assist, port)
    for state in ("SYN_RECV", "ESTABLISHED", "FIN_WAIT"):
        assist.activity.heard(event(EventKind.UPDATE, 1, FIRST, state))
    assert counts(assist) == (1, 1)
    assist.activity.heard(event(EventKind.UPDATE, 1, FIRST, "TIME_WAIT"))
    assist.activity.heard(event(EventKind.DESTROY, 1, FIRST, ""))
    assert counts(assist) == (0, 1)
    assert picked(assist, 3) == 0, "to the one that has none left"


def test_where_affinity_overruled_the_pick_the_flow_counts_where_it_went() -> None:
    assist = core()
    picked(assist, 1)
    assist.activity.heard(event(EventKind.UPDATE, 1, SECOND, "ESTABLISHED"))
    assert counts(assist) == (0, 1)


def test_a_pick_that_came_to_nothing_stops_counting() -> None:
    assist = core()
    picked(assist, 1)
    picked(assist, 2, now=10.0)
    assist.activity.heard(event(EventKind.UPDATE, 2, SECOND, "SYN_RECV"))
    assist.activity.forget_picks(1.0 + PICKED_SECONDS)
    assert counts(assist) == (0, 1)


def test_a_dump_sets_right_what_was_lost() -> None:
    assist = core()
    for port in (1, 2, 3):
        picked(assist, port)
        assist.activity.heard(event(EventKind.UPDATE, port, FIRST, "ESTABLISHED"))
    live = [event(EventKind.NEW, port, SECOND, state).flow for port, state in ((7, "ESTABLISHED"), (8, "TIME_WAIT"))]
    assist.activity.set_right(live)
    assert counts(assist) == (0, 1)


# ---- with the kernel


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network() as made:
        load(made, SETTING, assistance=Assistance(marks.QUEUE_BASE, marks.QUEUE_BASE))
        yield made


def name(text: bytes) -> object:
    def serve(connection: socket.socket) -> None:
        for _ in received(connection):
            connection.sendall(text)

    return serve


def asked(client: socket.socket) -> bytes:
    client.sendall(b"who?")
    return client.recv(10)


def active(hook: Worker) -> dict[str, int]:
    found = hook.statistics()["assist"]
    assert isinstance(found, dict)
    return dict(found["active"]["web"])


@pytest.mark.root
def test_least_connections_in_nat_mode(net: Network) -> None:
    with ExitStack() as stack:
        for i, text in enumerate((b"0", b"1")):
            stack.enter_context(tcp_server(net, f"server{i}", name(text)))  # type: ignore[arg-type]
        hook = stack.enter_context(worker(net, pickle.dumps(AssistPart(SETTING)), "assist", "-", "0", "netlink"))
        clients = [connected(net, stack) for _ in range(8)]
        at = [asked(client) for client in clients]
        assert sorted(at) == [b"0"] * 4 + [b"1"] * 4
        for client, where in zip(clients, at, strict=True):
            if where == b"0":
                client.close()
        eventually(lambda: active(hook), {str(SECOND): 4})
        fresh = [connected(net, stack) for _ in range(4)]
        assert [asked(client) for client in fresh] == [b"0"] * 4, "all to the one that has none"

        hook.kill()
        alone = [connected(net, stack) for _ in range(4)]
        assert {asked(client) for client in alone} == {b"0", b"1"}, "the kernel goes on by turns"
        assert [asked(client) for client in fresh] == [b"0"] * 4

        again = stack.enter_context(worker(net, pickle.dumps(AssistPart(SETTING)), "assist", "-", "0", "netlink"))
        assert active(again) == {str(FIRST): 6, str(SECOND): 6}, "counted from what conntrack has"


def connected(net: Network, stack: ExitStack) -> socket.socket:
    client = stack.enter_context(stream(net, "client"))
    client.connect((BIND, 80))
    return client


def eventually(found: object, wanted: object) -> None:
    end = time.monotonic() + 3
    while found() != wanted and time.monotonic() < end:  # type: ignore[operator]
        time.sleep(0.02)
    assert found() == wanted  # type: ignore[operator]


@pytest.mark.root
def test_a_scheduler_of_ones_own_in_nat_mode(net: Network, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    directory = Path(str(tmp_path))
    (directory / "lbt_own.py").write_text("def pick(candidates, client, target):\n    return candidates[-1]\n")
    service = replace(SETTING.services["web"], scheduler=Scheduler(SchedulerKind.PYTHON, "lbt_own", "pick"))
    part = AssistPart(replace(SETTING, services={"web": service}), str(directory))
    with ExitStack() as stack:
        for i, text in enumerate((b"0", b"1")):
            stack.enter_context(tcp_server(net, f"server{i}", name(text)))  # type: ignore[arg-type]
        stack.enter_context(worker(net, pickle.dumps(part), "assist", "-", "0", "netlink"))
        assert [asked(connected(net, stack)) for _ in range(4)] == [b"1"] * 4
