"""Somebody else changes lbctl's table: it is told at once, and mended where that is asked for."""

from __future__ import annotations

import json
import time

import pytest

from cli.lab.plan import LISTEN4
from tests.lab import Lab
from tests.run.files import ECHO, nat
from tests.run.running import Run, until
from tests.run.test_health import generation

pytestmark = pytest.mark.root

CHAIN = "postrouting-nat"
TARGET = (LISTEN4, ECHO)
ELSEWHERE = "10.0.3.2:9000"


def events(run: Run, name: str) -> list[dict[str, object]]:
    return [e for e in json.loads(run.command("--json", "events").stdout) if e["event"] == name]


def test_drift_is_told(run: Run, lab: Lab) -> None:
    run.start(nat(more=""))
    # What lbctl itself does is no drift.
    run.do("drain", service="echo", backend="10.0.2.2:9000")
    run.do("enable", service="echo", backend="10.0.2.2:9000")
    run.nft("add", "rule", "inet", "lbctl", CHAIN, "tcp", "dport", "9999", "drop")
    assert run.says(r"warning somebody else changed lbctl's table by=\"nft \(pid \d+\)\" what=.*mended=False")
    (event,) = events(run, "drift")
    assert CHAIN in str(event["what"])
    assert "9999" in run.nft("list", "chain", "inet", "lbctl", CHAIN)
    # Other tables are none of ours.
    run.nft("add", "table", "inet", "other")
    assert run.command("apply", str(run.directory / "lb.yaml")).returncode == 0
    assert "9999" not in run.nft("list", "chain", "inet", "lbctl", CHAIN)
    assert [e["mended"] for e in events(run, "drift")] == [False, True]


def test_drift_is_mended(run: Run, lab: Lab) -> None:
    run.start(nat(more="", top="reconcile: true"))
    run.nft("delete", "table", "inet", "lbctl")
    assert until(lambda: lab_answers(lab))
    (event,) = events(run, "drift")
    assert event["mended"] is True


def lab_answers(lab: Lab) -> bool:
    try:
        return lab.who("tcp", TARGET)[0].startswith("server")
    except OSError:
        return False


def test_a_writer_that_fights_costs_a_change_a_second(run: Run, lab: Lab) -> None:
    run.start(nat(more="", top="reconcile: true"))
    begun, before, theirs = time.monotonic(), generation(run), 0
    while time.monotonic() - begun < 2.5:
        run.nft("add", "rule", "inet", "lbctl", CHAIN, "tcp", "dport", "9999", "drop")
        theirs += 1
        time.sleep(0.05)
    took = time.monotonic() - begun
    assert theirs > 4
    assert 1 <= generation(run) - before - theirs <= took + 1
    assert until(lambda: "9999" not in run.nft("list", "chain", "inet", "lbctl", CHAIN))


def test_flows_to_nowhere_are_ended(run: Run, lab: Lab) -> None:
    """A flow of UDP that another hand's rule made, to a backend that is none: the sweep ends it."""
    run.start(nat(count=1, more="").replace("service: echo}", "protocol: udp, service: echo}"))
    run.nft(
        "insert", "rule", "inet", "lbctl", "prerouting-nat", "udp", "dport", str(ECHO), "dnat", "ip", "to", ELSEWHERE
    )
    with lab.connect("udp", TARGET) as sock:
        sock.send(b"x")
        assert sock.recv(100).startswith(b"server3")
        assert run.do("refresh")["changed"] or run.command("apply", str(run.directory / "lb.yaml")).returncode == 0
        sock.send(b"x")
        assert sock.recv(100).startswith(b"server1")
