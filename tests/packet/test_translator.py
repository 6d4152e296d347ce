"""What the step does with flows over time: opened, refused, reset, expired, kept, handed over."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from dataclasses import replace

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.packet import Raw, raw

from lb4.address import Endpoint, parse_bind, parse_endpoint
from lb4.admission import Refused
from lb4.model import (
    AdminState,
    Affinity,
    Backend,
    Health,
    Limits,
    Listener,
    Mode,
    Rate,
    Scheduler,
    SchedulerKind,
    Service,
)
from lb4.packet.keys import source_of
from lb4.packet.ports import PortRange
from lb4.packet.tcp_state import State, moved
from lb4.packet.translate import Translator
from tests.packet.cases import parsed
from tests.packet.network import BIND, BIND6, CLIENT, CLIENT6
from tests.packet.segments import backends_of, datagram, reply, segment
from tests.packet.setting import balancer, translator


def test_a_connection_goes_through_the_states_and_its_port_comes_back() -> None:
    core = translator(ports=PortRange(20000, 20000))
    steps = (
        ("client", "S", State.SYN_SENT),
        ("backend", "SA", State.SYN_RECV),
        ("client", "A", State.ESTABLISHED),
        ("client", "PA", State.ESTABLISHED),
        ("client", "FA", State.FIN_WAIT),
        ("backend", "A", State.FIN_WAIT),
        ("backend", "FA", State.LAST_ACK),
        ("client", "A", State.TIME_WAIT),
    )
    for who, flags, state in steps:
        assert core.step(segment(flags) if who == "client" else reply(core, flags), 1.0) is not None
        assert [flow.state for flow in core.table] == [state]
    core.step(segment("S", port=41001), 2.0)
    assert core.refused["web", Refused.NO_PORT] == 1
    core.table.expire(100.0)
    assert len(core.table) == 0
    assert isinstance(core.step(segment("S", port=41001), 101.0), bytearray)


@pytest.mark.parametrize(
    ("start", "from_backend", "flags", "wanted"),
    [
        (State.ESTABLISHED, True, 0x11, State.CLOSE_WAIT),
        (State.CLOSE_WAIT, False, 0x11, State.LAST_ACK),
        (State.SYN_SENT, True, 0x14, State.CLOSE),
        (State.SYN_SENT, False, 0x02, State.SYN_SENT),
        (State.SYN_RECV, False, 0x11, State.FIN_WAIT),
        (State.LAST_ACK, True, 0x10, State.TIME_WAIT),
        (State.TIME_WAIT, False, 0x10, State.TIME_WAIT),
        (State.ESTABLISHED, False, 0x18, State.ESTABLISHED),
    ],
)
def test_states(start: State, from_backend: bool, flags: int, wanted: State) -> None:
    assert moved(start, from_backend, flags) is wanted


def test_a_syn_on_an_ended_connection_opens_another() -> None:
    core = translator()
    core.step(segment("S"), 1.0)
    first = next(iter(core.table)).number
    core.step(reply(core, "RA"), 1.0)
    assert isinstance(core.step(segment("S"), 1.5), bytearray)
    assert [flow.number for flow in core.table] != [first]
    assert next(iter(core.totals.with_live(core.table).values())).total == 2


def test_a_retransmitted_syn_stays_on_its_backend() -> None:
    core = translator(balancer(backends=2))
    assert core.step(segment("S"), 1.0) == core.step(segment("S"), 2.0)
    assert len(core.table) == 1


def test_a_segment_of_no_flow_is_answered_with_a_reset() -> None:
    core = translator()
    out = parsed(bytes(core.step(segment("PA", payload=b"hello"), 1.0)))  # type: ignore[arg-type]
    assert (out.src, out.dst, out[TCP].sport, out[TCP].dport) == (BIND, CLIENT, 80, 41000)
    assert (str(out[TCP].flags), out[TCP].seq) == ("R", 7)
    assert raw(out) == raw(rebuilt(out))


def test_no_backend_resets_and_reports_unreachable() -> None:
    setting = balancer()
    service = setting.services["web"]
    down = tuple(replace(b, admin=AdminState.DISABLED) for b in service.backends)
    core = translator(replace(setting, services={"web": replace(service, backends=down)}))
    reset = parsed(bytes(core.step(segment("S", payload=b"ab"), 1.0)))  # type: ignore[arg-type]
    assert (str(reset[TCP].flags), reset[TCP].seq, reset[TCP].ack) == ("RA", 0, 103)
    four = parsed(bytes(core.step(datagram(), 1.0)))  # type: ignore[arg-type]
    assert (four[ICMP].type, four[ICMP].code, four.src, four.dst) == (3, 3, BIND, CLIENT)
    assert raw(four)[28:] == datagram()
    six = parsed(bytes(core.step(raw(IPv6(src=CLIENT6, dst=BIND6) / UDP(sport=1, dport=80)), 1.0)))  # type: ignore[arg-type]
    assert (six[ICMPv6DestUnreach].code, six.src, six.dst) == (4, BIND6, CLIENT6)
    for answer in (reset, four, six):
        assert raw(answer) == raw(rebuilt(answer))
    assert core.refused["web", Refused.NO_BACKEND] == 1
    assert core.refused["dns", Refused.NO_BACKEND] == 2


def rebuilt(packet: IP | IPv6) -> IP | IPv6:
    """With every checksum of the outermost headers computed anew."""
    anew = packet.copy()
    if anew.version == 4:
        del anew.chksum
    if TCP in anew and ICMP not in anew:
        del anew[TCP].chksum
    elif ICMP in anew:
        del anew[ICMP].chksum
    else:
        del anew[ICMPv6DestUnreach].cksum
    return anew


def test_resets_are_not_answered() -> None:
    assert translator().step(segment("R"), 1.0) is None


def test_the_table_has_a_limit() -> None:
    core = translator(flows_max=3)
    outcomes = [core.step(segment("S", port=41000 + i), 1.0) for i in range(5)]
    assert [isinstance(out, bytearray) for out in outcomes] == [True] * 3 + [False] * 2
    assert core.refused["web", Refused.TABLE_FULL] == 2


@pytest.mark.parametrize(
    ("limits", "passed"),
    [
        (Limits(connections=2), [1, 1, 0, 0]),
        (Limits(connections_per_client=1), [1, 0, 0, 1]),
        (Limits(new_connections=Rate(2, 60)), [1, 1, 0, 0]),
        (Limits(new_connections_per_client=Rate(5)), [1, 1, 1, 1]),
    ],
)
def test_limits(limits: Limits, passed: list[int]) -> None:
    setting = balancer()
    web = replace(setting.listeners["web"], limits=limits)
    core = translator(replace(setting, listeners={"web": web}))
    asked = [segment("S", 1), segment("S", 2), segment("S", 3), segment("S", 4, client="10.0.0.3")]
    assert [isinstance(core.step(data, 1.0), bytearray) for data in asked] == [bool(each) for each in passed]


def test_rates_let_a_burst_in_and_then_the_rate() -> None:
    setting = balancer()
    web = replace(setting.listeners["web"], limits=Limits(new_connections=Rate(10)))
    core = translator(replace(setting, listeners={"web": web}))
    at_once = [isinstance(core.step(segment("S", i), 1.0), bytearray) for i in range(1, 21)]
    later = [isinstance(core.step(segment("S", i), 1.5), bytearray) for i in range(21, 31)]
    assert (sum(at_once), sum(later)) == (10, 5)


def test_denied_clients_get_no_answer() -> None:
    from ipaddress import ip_network

    setting = balancer()
    web = replace(setting.listeners["web"], allow=(ip_network("10.0.0.0/24"),), deny=(ip_network("10.0.0.9/32"),))
    core = translator(replace(setting, listeners={"web": web}))
    clients = ("10.0.0.2", "10.0.0.9", "10.1.0.2")
    assert [core.step(segment("S", client=ip), 1.0) is None for ip in clients] == [False, True, True]
    assert core.refused["web", Refused.DENIED] == 2


def test_a_udp_checksum_that_becomes_zero_is_sent_as_ones() -> None:
    core = translator()
    first = parsed(bytes(core.step(datagram(b"\0\0"), 1.0)))  # type: ignore[arg-type]
    word = first[UDP].chksum
    out = bytes(core.step(datagram(word.to_bytes(2, "big")), 1.0))  # type: ignore[arg-type]
    assert out[26:28] == b"\xff\xff"


def test_fragments_get_the_translation_of_their_first() -> None:
    core = translator()
    whole = IP(src=CLIENT, dst=BIND, id=9) / UDP(sport=41000, dport=80) / Raw(bytes(range(256)) * 12)
    pieces = [raw(piece) for piece in fragment(IP(raw(whole)), fragsize=1000)]
    assert core.step(pieces[1], 1.0) is None, "before the first"
    outs = [core.step(piece, 1.0) for piece in pieces]
    sums = {(parsed(bytes(out)).src, parsed(bytes(out)).dst) for out in outs if isinstance(out, bytearray)}
    assert len(outs) == 4
    assert sums == {("10.0.1.1", "10.0.1.2")}
    payload = b"".join(raw(parsed(bytes(out)).payload) for out in outs)  # type: ignore[arg-type]
    joined = IP(src="10.0.1.1", dst="10.0.1.2") / UDP(payload)
    del joined[UDP].chksum
    assert raw(joined)[20:] == payload
    assert core.step(pieces[1], 100.0) is None, "long after the first"


def test_affinity_keeps_a_client_on_its_backend() -> None:
    setting = balancer(backends=2)
    service = replace(setting.services["web"], affinity=Affinity(timeout=10))
    core = translator(replace(setting, services={"web": service}))
    for i in range(6):
        core.step(segment("S", port=41000 + i), float(i))
    assert len(set(backends_of(core))) == 1
    core.step(segment("S", port=42000), 30.0)
    assert len(set(backends_of(core))) == 2


@pytest.mark.parametrize(("panic", "lives"), [(0.0, False), (0.5, True)])
def test_exchanges_with_a_backend_that_is_down_end_unless_it_serves_all_the_same(panic: float, lives: bool) -> None:
    """As in the kernel modes, also where no other is left."""
    setting = balancer()
    service = replace(setting.services["web"], panic_threshold=panic)
    core = translator(replace(setting, services={"web": service}))
    core.step(datagram(), 1.0)
    core.step(segment("S"), 1.0)
    down = tuple(replace(b, health=Health.DOWN) for b in service.backends)
    changed = replace(setting, services={"web": replace(service, backends=down)})
    core.reconfigure(replace(core.setup, balancer=changed))
    assert len(core.table) == 1 + lives


def test_a_port_that_cannot_be_used_comes_back() -> None:
    """A backend that is itself a client has the very addresses and ports that its answers would have."""
    setting = balancer()
    own = Listener("own", (parse_bind("10.0.1.1:20000"),), mode=Mode.PACKET, service="own")
    services = {**setting.services, "own": Service("own", (Backend(parse_endpoint("10.0.2.2:8080")),))}
    both = replace(setting, listeners={**setting.listeners, "own": own}, services=services)
    core = translator(both, ports=PortRange(20000, 20000))
    asked = raw(IP(src="10.0.1.2", dst="10.0.1.1") / TCP(sport=8080, dport=20000, flags="S"))
    assert isinstance(core.step(asked, 1.0), bytearray)
    core.step(segment("S"), 1.0)
    assert core.refused["web", Refused.NO_PORT] == 1
    core.table.expire(1000.0)
    assert isinstance(core.step(segment("S"), 1000.0), bytearray)


def test_least_connections_follows_what_ends() -> None:
    core = translator(balancer(backends=2, scheduler=SchedulerKind.LEAST_CONNECTIONS))
    for i in range(4):
        core.step(segment("S", port=41000 + i), 1.0)
    assert sorted(core.table.active.values()) == [2, 2]
    emptied = source_of(next(iter(core.table)).out.key).port or 0
    backend = next(iter(core.table)).backend
    core.step(reply(core, "RA", emptied), 1.0)
    core.step(segment("S", port=43000), 1.0)
    assert list(core.table)[-1].backend == backend


@pytest.fixture
def own() -> Iterator[types.ModuleType]:
    module = types.ModuleType("own_scheduler")
    sys.modules["own_scheduler"] = module
    yield module
    del sys.modules["own_scheduler"]


def with_own(function: str = "pick") -> tuple[Translator, list[str]]:
    setting = balancer(backends=2)
    service = replace(
        setting.services["web"], scheduler=Scheduler(SchedulerKind.PYTHON, "own_scheduler", function)
    )  # fmt: skip
    said: list[str] = []
    return translator(replace(setting, services={"web": service}), said.append), said


def test_a_users_own_scheduler_is_asked_once_per_flow(own: types.ModuleType) -> None:
    asked = []

    def pick(candidates: tuple[Backend, ...], client: Endpoint, target: Endpoint) -> Backend:
        asked.append((len(candidates), str(client), str(target)))
        return candidates[1]

    own.pick = pick  # type: ignore[attr-defined]
    core, said = with_own()
    for flags in ("S", "S", "A"):
        core.step(segment(flags), 1.0)
    assert asked == [(2, "10.0.0.2:41000", "192.0.2.10:80")]
    assert backends_of(core) == ["10.0.2.2:8080"]
    assert said == []


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda *_: 1 / 0, "ZeroDivisionError"),
        (lambda *_: None, "no candidate"),
        (lambda *_: Backend(parse_endpoint("1.2.3.4:5")), "no candidate"),
    ],
)
def test_a_failing_scheduler_costs_its_packet_alone(own: types.ModuleType, function: object, words: str) -> None:
    own.pick = function  # type: ignore[attr-defined]
    core, said = with_own()
    assert core.step(segment("S"), 1.0) is None
    own.pick = None  # type: ignore[attr-defined]
    assert words in said[0]
    assert core.refused["web", Refused.SCHEDULER] == 1
    assert len(core.table) == 0


def test_a_scheduler_that_is_missing_is_named() -> None:
    core, said = with_own("nothing")
    assert core.step(segment("S"), 1.0) is None
    assert "own_scheduler" in said[0]
