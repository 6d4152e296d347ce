"""Trace: packets paired across the balancer, live in both modes, and written for Wireshark."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw, raw
from scapy.utils import RawPcapNgReader

from cli.state import Remembered, State
from cli.trace.packet_filter import program
from cli.trace.pairing import WAIT, Pairing
from cli.trace.places import Places
from cli.trace.sighting import Passage, Sighting
from lb4.address import parse_ip
from lb4.model import Mode
from lb4.packet.part import PacketPart
from tests.packet.hook import load, worker
from tests.packet.network import BIND, CLIENT, Network, network, run
from tests.packet.setting import balancer
from tests.packet.traffic import received, stream, tcp_server

LBCTL = str(Path(sys.executable).parent / "lbctl")
CONFIG = """version: 1
listeners:
  web: {{bind: "192.0.2.10:80", mode: {mode}, service: web}}
  dns: {{bind: "192.0.2.10:80", protocol: udp, mode: {mode}, service: web}}
services:
  web: {{backends: ["10.0.1.2:8080"]}}
"""
SOURCE, BACKEND = "10.0.1.1", "10.0.1.2"


class Stage:
    """Sightings told one after the other, a tenth of a millisecond apart."""

    def __init__(self, mode: Mode = Mode.NAT) -> None:
        self._pairing = Pairing(Places(balancer(mode, backends=2)))
        self.now = 100.0

    def __call__(self, outgoing: bool, packet: Packet) -> list[str]:
        self.now += 0.0001
        return told(self._pairing.seen(Sighting(self.now, "eth0", outgoing, raw(packet))))

    def later(self) -> list[str]:
        self.now += 2 * WAIT
        return told(self._pairing.idle(self.now))


def told(passages: Iterator[Passage]) -> list[str]:
    return [
        f"{p.flow} {p.direction} {p.flags or p.protocol}: "
        f"{f'{p.arrived.source}>{p.arrived.destination}' if p.arrived else '-'} => "
        f"{f'{p.left.source}>{p.left.destination}' if p.left else '-'}"
        for p in passages
    ]


def tcp(source: str, sport: int, to: str, dport: int, flags: str, seq: int, payload: bytes = b"") -> Packet:
    return IP(src=source, dst=to) / TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=7) / Raw(payload)


def test_four_boxes_of_a_connection() -> None:
    stage = Stage()
    assert stage(False, tcp(CLIENT, 41000, BIND, 80, "S", 10)) == []
    assert stage(True, tcp(SOURCE, 2000, BACKEND, 8080, "S", 10)) == [
        "1 request S: 10.0.0.2:41000>192.0.2.10:80 => 10.0.1.1:2000>10.0.1.2:8080"
    ]
    assert stage(False, tcp(BACKEND, 8080, SOURCE, 2000, "SA", 50)) == []
    assert stage(True, tcp(BIND, 80, CLIENT, 41000, "SA", 50)) == [
        "1 response SA: 10.0.1.2:8080>10.0.1.1:2000 => 192.0.2.10:80>10.0.0.2:41000"
    ]


def test_a_packet_that_leaves_in_pieces_is_each_piece() -> None:
    stage = Stage()
    stage(False, tcp(CLIENT, 41000, BIND, 80, "PA", 100, b"x" * 3000))
    pieces = [stage(True, tcp(SOURCE, 2000, BACKEND, 8080, "A", 100 + at, b"x" * 1000)) for at in (0, 1000, 2000)]
    assert [len(piece) for piece in pieces] == [1, 1, 1]
    assert stage.later() == []


def test_what_does_not_leave_is_told_so() -> None:
    stage = Stage()
    stage(False, tcp(CLIENT, 41000, BIND, 80, "S", 10))
    assert stage.later() == ["1 request S: 10.0.0.2:41000>192.0.2.10:80 => -"]
    assert stage(True, tcp(BIND, 80, CLIENT, 41000, "RA", 0)) == ["1 response RA: - => 192.0.2.10:80>10.0.0.2:41000"]


def test_equal_datagrams_of_two_clients_keep_their_order() -> None:
    stage = Stage()
    for port in (1, 2):
        stage(False, IP(src=CLIENT, dst=BIND) / UDP(sport=port, dport=80) / Raw(b"same"))
    outs = [
        stage(True, IP(src=SOURCE, dst=BACKEND) / UDP(sport=port, dport=8080) / Raw(b"same")) for port in (71, 72, 71)
    ]
    assert [[line.split(":")[0] for line in out] for out in outs] == [["1 request udp"], ["2 request udp"], []]


def test_two_connections_are_told_side_by_side() -> None:
    stage = Stage(Mode.TERMINATE)
    assert stage(False, tcp(CLIENT, 41000, BIND, 80, "S", 10)) == ["1 request S: 10.0.0.2:41000>192.0.2.10:80 => -"]
    assert stage(True, tcp(BIND, 80, CLIENT, 41000, "SA", 9)) == ["1 response SA: - => 192.0.2.10:80>10.0.0.2:41000"]


@pytest.mark.parametrize(
    ("packet", "passes"),
    [
        (IP(src="1.2.3.4", dst=BIND), True),
        (IP(src=BACKEND, dst="1.2.3.4"), True),
        (IP(src="1.2.3.4", dst="1.2.3.5"), False),
        (IPv6(src="fd00::2", dst="2001:db8::10"), True),
        (IPv6(src="2001:db8::10", dst="fd00::2"), True),
        (IPv6(src="fd00::2", dst="fd00::3"), False),
    ],
)
def test_the_filter_in_the_kernel(packet: Packet, passes: bool) -> None:
    code = program(parse_ip(text) for text in (BIND, BACKEND, "2001:db8::10"))
    assert code is not None
    assert interpreted(code, raw(packet)) is passes


def interpreted(code: bytes, data: bytes) -> bool:
    """Classic BPF, the few instructions there are."""
    at, register = 0, 0
    while True:
        kind = int.from_bytes(code[at : at + 2], sys.byteorder)
        yes, no, word = code[at + 2], code[at + 3], int.from_bytes(code[at + 4 : at + 8], sys.byteorder)
        at += 8
        if kind == 0x06:
            return word != 0
        if kind == 0x15:
            at += 8 * (yes if register == word else no)
        elif kind == 0x74:
            register >>= word
        else:
            register = int.from_bytes(data[word : word + (1 if kind == 0x30 else 4)], "big")


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.mark.root
@pytest.mark.parametrize("mode", [Mode.NAT, Mode.PACKET])
def test_live(net: Network, tmp_path: Path, mode: Mode) -> None:
    setting = balancer(mode)
    load(net, setting)
    state = State(tmp_path)
    with state.locked():
        state.begin(Remembered(CONFIG.format(mode=mode), str(tmp_path / "lb.yaml")))
        state.finish()
    command = [LBCTL, "--json", "trace", "--listener", "web", "--client", CLIENT]
    command += ["--count", "7", "--write", str(tmp_path / "web.pcapng")]
    with ExitStack() as stack:
        if mode is Mode.PACKET:
            stack.enter_context(worker(net, pickle.dumps(PacketPart(setting)), "packet", "-", "0", "netlink"))
        stack.enter_context(tcp_server(net, "server0", echo))
        before = run("ip", "netns", "exec", net.name("lb"), "nft", "list", "ruleset")
        tracing = stack.enter_context(
            subprocess.Popen(
                ["ip", "netns", "exec", net.name("lb"), *command],
                stdout=subprocess.PIPE,
                env={**os.environ, "LBCTL_STATE_DIR": str(tmp_path)},
            )
        )
        stack.callback(tracing.kill)
        captures(net)
        assert run("ip", "netns", "exec", net.name("lb"), "nft", "list", "ruleset") == before, "no rule is made"
        client = stack.enter_context(stream(net, "client"))
        client.connect((BIND, 80))
        client.sendall(b"hello")
        assert client.recv(10) == b"hello"
        lines, _ = tracing.communicate(timeout=10)
    told = [json.loads(line) for line in lines.splitlines()]
    assert {line["flow"] for line in told} == {1}
    assert [(line["direction"], line["flags"]) for line in told[:4]] == [
        ("request", "S"),
        ("response", "SA"),
        ("request", "A"),
        ("request", "PA"),
    ]
    for line in told:
        ends = [line[side][end] for side in ("arrived", "left") for end in ("source", "destination")]
        if line["direction"] == "response":
            ends = [ends[3], ends[2], ends[1], ends[0]]
        assert ends[0].startswith(CLIENT)
        assert (ends[1], ends[3]) == ("192.0.2.10:80", "10.0.1.2:8080")
        assert ends[2].startswith("10.0.1.1:")
        assert 0 <= line["took"] < 1
    with RawPcapNgReader(str(tmp_path / "web.pcapng")) as reader:
        written = list(reader)
    assert len(written) == 14
    assert {IP(data).src for data, _ in written} == {CLIENT, BIND, SOURCE, BACKEND}


def echo(connection: object) -> None:
    for block in received(connection):  # type: ignore[arg-type]
        connection.sendall(block)  # type: ignore[attr-defined]


def captures(net: Network) -> None:
    """Waits until the packet socket is there: /proc/net/packet has a line for each."""
    for _ in range(500):
        if len(run("ip", "netns", "exec", net.name("lb"), "cat", "/proc/net/packet").splitlines()) > 1:
            return
    raise AssertionError("trace opened no packet socket")
