"""apply, plan, rollback, flush against the kernel: all or nothing, only what changed, nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.operations.error import OperationError
from tests.operations.balancer import BOTH, FIRST, SECOND, WEB, WEB_FIRST, Balancer, asked
from tests.packet.network import BIND

pytestmark = pytest.mark.root


def test_plan_then_apply_then_nothing_to_plan(lb: Balancer) -> None:
    planned = lb.plan(WEB)
    assert planned == [
        "add listener web",
        "add service web",
        f"add backend web {FIRST}",
        f"add backend web {SECOND}",
    ]
    assert lb.tables() == []
    lb.apply(WEB)
    assert lb.plan(WEB) == []
    assert lb.answers(8) == {"server0": 4, "server1": 4}


def test_apply_twice_changes_nothing(lb: Balancer) -> None:
    lb.apply(WEB)
    before = lb.nft("list", "ruleset")
    assert lb.apply(WEB)["changes"] == []
    assert lb.nft("list", "ruleset") == before


def test_rollback_and_back_again(lb: Balancer) -> None:
    lb.apply(WEB)
    lb.apply(WEB_FIRST)
    lb.apply(WEB_FIRST)
    lb.do("rollback")
    assert set(lb.answers()) == {"server0", "server1"}
    assert lb.plan(WEB) == []
    lb.do("rollback")
    assert set(lb.answers()) == {"server0"}


def test_nothing_to_roll_back_to(lb: Balancer) -> None:
    with pytest.raises(OperationError, match="ever applied"):
        lb.do("rollback")
    lb.apply(WEB)
    with pytest.raises(OperationError, match="lbctl flush"):
        lb.do("rollback")
    assert lb.plan(WEB) == []


def test_flush_removes_ours_and_nothing_else_and_can_be_undone(lb: Balancer) -> None:
    lb.nft("add", "table", "ip", "theirs")
    lb.apply(WEB)
    assert lb.tables() == ["table ip theirs", "table inet lbctl"]
    assert lb.do("flush") == {"removed": True}
    assert lb.do("flush") == {"removed": False}
    assert lb.tables() == ["table ip theirs"]
    lb.do("rollback")
    assert set(lb.answers()) == {"server0", "server1"}


THEIRS = """
table inet theirs {
  map lbctl { type ipv4_addr : verdict; elements = { 192.0.2.10 : accept }; }
  chain prerouting { type nat hook prerouting priority -90; policy accept; ip daddr 192.0.2.99 counter drop; }
}
"""


def test_other_tables_stay_as_they_are(lb: Balancer) -> None:
    theirs = lb.directory / "theirs.nft"
    theirs.write_text(THEIRS)
    lb.nft("-f", str(theirs))
    before = lb.nft("list", "table", "inet", "theirs")
    for step in (WEB, BOTH, WEB_FIRST):
        lb.apply(step)
    lb.do("flush")
    assert lb.nft("list", "table", "inet", "theirs") == before


@pytest.mark.parametrize(
    "edit",
    [
        ("flush", "map", "inet", "lbctl", "listeners4"),
        ("add", "chain", "inet", "lbctl", "extra"),
        ("add", "rule", "inet", "lbctl", "nat-web-4", "counter"),
        ("flush", "chain", "inet", "lbctl", "nat-web-4"),
        ("delete", "table", "inet", "lbctl"),
        ("add", "set", "inet", "lbctl", "extra", "{ type ipv4_addr; }"),
        ("add", "chain", "inet", "lbctl", "extra", "{ type filter hook ingress device lo priority 0; }"),
        ("add", "chain", "inet", "lbctl", "extra", "{ type filter hook forward priority 0; policy drop; }"),
        ("add", "element", "inet", "lbctl", "listeners4", "{ * : drop }"),
        ("add", "element", "inet", "lbctl", "binds4", "{ * }"),
        ("add", "element", "inet", "lbctl", "traffic4", "{ * }"),
        ("add", "element", "inet", "lbctl", "traffic4", "{ 10.0.9.9 . icmp . 1 . 10.0.9.9 . 1 }"),
    ],
)
def test_edits_by_others_show_as_drift_and_are_mended(lb: Balancer, edit: tuple[str, ...]) -> None:
    lb.apply(WEB)
    lb.nft(*edit)
    planned = lb.plan(WEB)
    assert planned
    assert all(line.endswith("(drift)") for line in planned)
    assert [f["name"] for f in lb.do("doctor")["findings"] if f["level"] == "problem"] == ["drift"]
    assert lb.do("status")["services"]
    lb.apply(WEB)
    assert lb.plan(WEB) == []
    assert set(lb.answers()) == {"server0", "server1"}


def test_a_change_and_drift_are_told_apart(lb: Balancer) -> None:
    lb.apply(WEB)
    lb.nft("add", "chain", "inet", "lbctl", "extra")
    assert lb.plan(WEB_FIRST) == [f"remove backend web {SECOND}", "remove chain extra (drift)"]


def test_a_file_that_does_not_validate_changes_nothing(lb: Balancer) -> None:
    lb.apply(WEB)
    before = lb.ruleset()
    with pytest.raises(OperationError) as refused:
        lb.apply(WEB.replace("service: web", "service: wep"))
    assert refused.value.exit == 2
    assert any("did you mean" in line for line in refused.value.lines)
    assert lb.ruleset() == before
    assert lb.plan(WEB) == []


def test_a_state_directory_that_cannot_be_written_stops_before_the_kernel(lb: Balancer) -> None:
    (lb.directory / "state").write_text("a file")
    with pytest.raises(OperationError, match="LBCTL_STATE_DIR"):
        lb.apply(WEB)
    assert lb.tables() == []


@pytest.mark.parametrize("mode", ["nat", "gateway", "packet"])
def test_a_host_that_does_not_forward_is_warned_of(lb: Balancer, mode: str) -> None:
    text = WEB.replace("service: web}", f"service: web, mode: {mode}}}")
    forward = Path("/proc/sys/net/ipv4/ip_forward")
    with lb.network.inside("lb"):
        forward.write_text("0")
    try:
        warned = lb.do("plan", path=lb.file(text))["warnings"]
        assert [line for line in warned if line.startswith("IPv4 forwarding is off")]
    finally:
        with lb.network.inside("lb"):
            forward.write_text("1")
    assert not [line for line in lb.do("plan", path=lb.file(text))["warnings"] if "forwarding" in line]


def test_live_connections_outlive_what_does_not_concern_them(lb: Balancer) -> None:
    lb.apply(WEB)
    with lb.connected() as kept:
        who = asked(kept)
        lb.apply(BOTH)
        lb.apply(WEB.replace("backends", "scheduler: random, backends"))
        lb.do("flush")
        lb.apply(WEB)
        assert asked(kept) == who


def test_ten_thousand_denied_prefixes(lb: Balancer) -> None:
    denied = [f"10.{100 + i // 2500}.{i // 10 % 250}.{i % 10 * 20}/31" for i in range(10_000)]
    deny = f'bind: "{BIND}:80", deny: [{", ".join(denied)}'
    lb.apply(WEB.replace(f'bind: "{BIND}:80"', f"{deny}]"))
    assert set(lb.answers()) == {"server0", "server1"}
    lb.apply(WEB.replace(f'bind: "{BIND}:80"', f"{deny}, 10.0.0.0/24]"))
    with lb.client() as sock:
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.connect((BIND, 80))
    refused = lb.do("status")["listeners"][0]["refused"]
    assert refused["denied"] >= 1


def test_a_route_that_differs_is_something_to_change(lb: Balancer) -> None:
    http = WEB.replace("service: web}", "mode: http, routes: [{match: {path: /a}, service: web}]}")
    lb.apply(http)
    assert lb.plan(http) == []
    assert lb.plan(http.replace("/a", "/b")) == ["change listener web"]
    assert lb.run("plan", "--exit-code", lb.file(http.replace("/a", "/b")))[0] == 1
    assert [change["name"] for change in lb.apply(http.replace("/a", "/b"))["changes"]] == ["web"]
    assert [change["name"] for change in lb.do("rollback")["changes"]] == ["web"]
