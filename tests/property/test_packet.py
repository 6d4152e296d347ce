"""Packet mode's laws, over random packets."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw, raw

from lb4.model import SchedulerKind
from lb4.packet.checksum import change, changed, checksum, folded, words
from lb4.packet.keys import turned
from lb4.packet.parse import parse
from lb4.packet.ports import PortRange
from lb4.packet.rewrite import Translation, rewritten
from lb4.packet.translate import Translator
from tests.packet.network import BIND, BIND6
from tests.packet.setting import balancer, translator

PORTS = st.integers(1, 65535)
V4 = st.ip_addresses(v=4).map(str)
V6 = st.ip_addresses(v=6).map(str)
LAWS = settings(max_examples=150, deadline=None)


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """A whole TCP or UDP packet of either family, its checksums right."""
    addresses = draw(st.sampled_from((V4, V6)))
    source, destination = draw(addresses), draw(addresses)
    network = IPv6(src=source, dst=destination) if addresses is V6 else IP(src=source, dst=destination)
    kind = draw(st.sampled_from((TCP, UDP)))
    transport = kind(sport=draw(PORTS), dport=draw(PORTS))
    return raw(network / transport / Raw(draw(st.binary(max_size=40))))


@st.composite
def translations(draw: st.DrawFn, data: bytes) -> Translation:
    header = parse(data)
    assert header is not None
    return Translation(header.key, draw(st.binary(min_size=len(header.key), max_size=len(header.key))))


@LAWS
@given(st.data())
def test_the_reverse_of_a_rewrite_is_identity(data: st.DataObject) -> None:
    packet = data.draw(packets())
    there = data.draw(translations(packet))
    header = parse(packet)
    assert header is not None
    back = Translation(there.new, there.key)
    once = bytes(rewritten(packet, header, there))
    again = parse(once)
    assert again is not None
    assert bytes(rewritten(once, again, back)) == packet


@LAWS
@given(st.data())
def test_checksums_equal_a_full_recomputation(data: st.DataObject) -> None:
    packet = data.draw(packets())
    header = parse(packet)
    assert header is not None
    once = bytes(rewritten(packet, header, data.draw(translations(packet))))
    anew = (IP if header.version == 4 else IPv6)(once)
    if header.version == 4:
        del anew.chksum
    del anew[TCP if TCP in anew else UDP].chksum
    assert once == raw(anew)


@LAWS
@given(st.binary(min_size=2, max_size=64), st.data())
def test_a_changed_checksum_is_the_checksum_of_the_change(data: bytes, more: st.DataObject) -> None:
    data = data[: len(data) & ~1]
    at = more.draw(st.integers(0, len(data) // 2 - 1)) * 2
    new = more.draw(st.binary(min_size=2, max_size=2))
    other = data[:at] + new + data[at + 2 :]
    assert folded(words(other)) % 0xFFFF == folded(words(data) + change(data[at : at + 2], new)) % 0xFFFF
    if words(other):
        assert changed(checksum(data), change(data[at : at + 2], new)) == checksum(other)


@LAWS
@given(st.lists(st.binary(max_size=90), max_size=10), st.sampled_from((b"", b"\x45", b"\x60", b"\x46\0\0\x30")))
def test_random_bytes_never_raise(datas: list[bytes], start: bytes) -> None:
    step = translator().step
    for data in datas:
        step(start + data, 1.0)


@LAWS
@given(st.data())
def test_cut_and_bent_packets_never_raise(data: st.DataObject) -> None:
    step = translator().step
    packet = bytearray(data.draw(packets()))
    bind = IP(dst=BIND) if packet[0] >> 4 == 4 else IPv6(dst=BIND6)
    where = slice(16, 20) if packet[0] >> 4 == 4 else slice(24, 40)
    packet[where] = raw(bind)[where]
    for _ in range(3):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    for cut in (len(packet), data.draw(st.integers(0, len(packet)))):
        step(bytes(packet[:cut]), 1.0)


EVENTS = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from(("S", "A", "FA", "R", "back", "back FA", "wait", "udp"))),
    max_size=120,
)


@settings(max_examples=80, deadline=None)
@given(EVENTS)
def test_no_two_live_flows_share_a_translation(events: list[tuple[int, str]]) -> None:
    """Twenty source ports, so that they run out and are used again."""
    core = translator(balancer(backends=2, scheduler=SchedulerKind.LEAST_CONNECTIONS), ports=PortRange(20000, 20009))
    now = 1.0
    for client, what in events:
        now += 20 if what == "wait" else 0.01
        core.table.expire(now)
        key = None
        if what == "udp":
            core.step(raw(IP(src="10.0.0.2", dst=BIND) / UDP(sport=5000 + client, dport=80)), now)
        elif what.startswith("back"):
            flow = next((f for f in core.table if f.protocol == 6 and f.out.key[8:10] == _port(client)), None)
            key = flow.back.key if flow else None
            if key is not None:
                core.step(_tcp(key, "FA" if "FA" in what else "SA"), now)
        elif what != "wait":
            core.step(raw(IP(src="10.0.0.2", dst=BIND) / TCP(sport=5000 + client, dport=80, flags=what)), now)
        _check(core)


def _check(core: Translator) -> None:
    flows = list(core.table)
    given_keys = [(flow.protocol, flow.out.new) for flow in flows]
    assert len(set(given_keys)) == len(given_keys)
    directions = core.table.directions
    assert sum(map(len, directions.values())) == 2 * len(flows)
    for flow in flows:
        assert directions[flow.protocol][turned(flow.out.new)] is flow.back
    active: dict[object, int] = {}
    for flow in flows:
        if flow.active:
            active[flow.backend] = active.get(flow.backend, 0) + 1
    assert core.table.active == active


def _port(client: int) -> bytes:
    return (5000 + client).to_bytes(2, "big")


def _tcp(key: bytes, flags: str) -> bytes:
    source, destination = (".".join(map(str, key[i : i + 4])) for i in (0, 4))
    sport, dport = (int.from_bytes(key[i : i + 2], "big") for i in (8, 10))
    return raw(IP(src=source, dst=destination) / TCP(sport=sport, dport=dport, flags=flags))
