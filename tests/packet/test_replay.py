"""Replay: captures of every kind through the pure core, and what comes out as a file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import ARP, CookedLinux, Dot1Q, Ether
from scapy.packet import Packet, Raw, raw
from scapy.utils import RawPcapNgReader, wrpcap, wrpcapng

from tests.packet.network import BIND, CLIENT

MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
LBCTL = str(Path(sys.executable).parent / "lbctl")
CONFIG = """version: 1
listeners:
  web: {bind: "192.0.2.10:80", snat: ["10.0.1.1"], service: web}
services:
  web: {backends: ["10.0.1.2:8080"]}
"""


def packets() -> list[Packet]:
    start = {"sport": 41000, "dport": 80}
    return [
        IP(src=CLIENT, dst=BIND) / TCP(**start, flags="S", seq=1),
        IP(src=CLIENT, dst=BIND) / TCP(**start, flags="A", seq=2) / Raw(b"hello"),
        IP(src=CLIENT, dst=BIND) / TCP(sport=5, dport=80, flags="A"),
        IP(src=CLIENT, dst="198.51.100.1") / TCP(**start, flags="S"),
        IP(src=CLIENT, dst=BIND) / TCP(sport=6, dport=80, flags="R"),
    ]


def in_frames(frame: Packet) -> list[Packet]:
    return [Ether(**MACS) / ARP(hwsrc=MACS["src"], psrc="10.0.0.1"), *[frame / packet for packet in packets()]]


def replayed(directory: Path, capture: Path) -> dict[str, list[dict[str, object]]]:
    (directory / "lb.yaml").write_text(CONFIG)
    command = [LBCTL, "--json", "replay", str(capture), "--config", "lb.yaml"]
    done = subprocess.run(command, check=True, capture_output=True, cwd=directory)
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize("kind", ["ethernet", "vlan", "cooked", "raw", "pcapng"])
def test_replay(tmp_path: Path, kind: str) -> None:
    capture = tmp_path / "web.pcap"
    if kind == "pcapng":
        wrpcapng(str(capture), packets())
    elif kind == "raw":
        wrpcap(str(capture), packets(), linktype=101)
    else:
        frame = {"ethernet": Ether(**MACS), "vlan": Ether(**MACS) / Dot1Q(vlan=7), "cooked": CookedLinux()}[kind]
        wrpcap(str(capture), in_frames(frame)[0 if kind != "cooked" else 1 :])
    answer = replayed(tmp_path, capture)
    rows = answer["packets"]
    assert [row["verdict"] for row in rows] == ["translated", "translated", "answered", "passed", "dropped"]
    assert rows[0]["new_destination"] == "10.0.1.2:8080"
    assert str(rows[0]["new_source"]).startswith("10.0.1.1:")
    assert rows[1]["new_source"] == rows[0]["new_source"]
    assert (rows[2]["new_source"], rows[2]["new_destination"]) == ("192.0.2.10:80", "10.0.0.2:5")
    assert rows[4]["new_source"] is None
    with RawPcapNgReader(str(answer["written"])) as reader:
        out = [IP(data) for data, _ in reader]
    assert [raw(packet) for packet in out] == [raw(IP(raw(rebuilt(packet)))) for packet in out], "checksums are right"
    assert [packet.dst for packet in out] == ["10.0.1.2", "10.0.1.2", CLIENT, "198.51.100.1"]


def rebuilt(packet: Packet) -> Packet:
    anew = packet.copy()
    del anew.chksum, anew[TCP].chksum
    return anew


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "too short"), (b"x" * 100, "neither pcap nor pcapng"), (b"\xd4\xc3\xb2\xa1" + b"\0" * 36, "link type 0")],
)
def test_what_is_no_capture_is_said_so(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "lb.yaml").write_text(CONFIG)
    (tmp_path / "bad.pcap").write_bytes(content)
    command = [LBCTL, "replay", "bad.pcap", "--config", "lb.yaml"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert words in done.stderr
