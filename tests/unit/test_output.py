"""Tables and numbers for people, and the text made from each document."""

from __future__ import annotations

import pytest
from click import unstyle

from cli.commands import admin, apply, doctor, explain, flows, plan, status
from cli.output import coloured, counted, number, size, table

SIZES = [
    (0, "0 B"),
    (1023, "1023 B"),
    (1024, "1.0 KiB"),
    (1024**2 - 1, "1.0 MiB"),
    (120034, "117.2 KiB"),
    (5 * 1024**3, "5.0 GiB"),
    (3 * 1024**7, "3072.0 EiB"),
]


@pytest.mark.parametrize(("value", "text"), SIZES)
def test_sizes(value: int, text: str) -> None:
    assert size(value) == text


def test_numbers_and_counts() -> None:
    assert number(1234567) == "1,234,567"
    assert [counted(1, "flow"), counted(0, "flow"), counted(2, "policy")] == ["1 flow", "0 flows", "2 policies"]


def test_a_table_is_aligned_whatever_its_colours() -> None:
    text = table(("NAME", "HEALTH", "N"), [("a", coloured("up"), "1"), ("longer", coloured("down"), "1,000")], ("N",))
    assert unstyle(text) == "NAME    HEALTH      N\na       up          1\nlonger  down    1,000"


STATUS = {
    "listeners": [
        {"name": "web", "mode": "nat", "protocol": "tcp", "bind": ["192.0.2.10:80", "192.0.2.11:80"], "service": "web",
         "refused": {"deny": 3, "limits": 4}},
    ],
    "services": [
        {"name": "web", "scheduler": "round-robin", "backends": [
            {"address": "10.0.1.2:8080", "weight": 1, "health": "up", "admin": "enabled",
             "packets": 990, "bytes": 120034, "connections": {"active": 3, "total": 1120}},
            {"address": "10.0.2.2:8080", "weight": 0, "health": "unchecked", "admin": "draining",
             "packets": 0, "bytes": 0, "connections": {"active": 0, "total": 0}, "backup": True,
             "override": {"admin": "draining", "weight": 0}},
        ]},
    ],
}  # fmt: skip

STATUS_TEXT = """\
LISTENER  MODE  PROTOCOL  BIND           SERVICE  REFUSED
web       nat   tcp       192.0.2.10:80  web            7
                          192.0.2.11:80

SERVICE  SCHEDULER    BACKEND               WEIGHT  HEALTH     ADMIN      ACTIVE  TOTAL  PACKETS      BYTES
web      round-robin  10.0.1.2:8080              1  up         enabled         3  1,120      990  117.2 KiB
                      10.0.2.2:8080 backup      0*  unchecked  draining*       0      0        0        0 B"""

FLOW = {
    "listener": "web", "service": "web", "protocol": "tcp", "client": "10.0.0.2:41000", "target": "192.0.2.10:80",
    "source": "10.0.1.1:41000", "backend": "10.0.1.2:8080",
    "state": "ESTABLISHED", "packets": [12, 9], "bytes": [900, 7000],
}  # fmt: skip

FLOWS_TEXT = """\
SERVICE  PROTOCOL  CLIENT          TARGET         SOURCE          BACKEND        STATE        PACKETS    BYTES
web      tcp       10.0.0.2:41000  192.0.2.10:80  10.0.1.1:41000  10.0.1.2:8080  ESTABLISHED       21  7.7 KiB
1 flow"""

PLAN = {
    "changes": [
        {"action": "add", "kind": "listener", "name": "web"},
        {"action": "change", "kind": "service", "name": "web", "detail": "weight 1 to 3"},
        {"action": "remove", "kind": "chain", "name": "nat-x-4", "drift": True},
    ],
    "flows": {"kept": 12, "ended": 1},
    "overrides": [{"service": "web", "backend": "10.0.1.2:80", "admin": "draining", "weight": 2}],
    "warnings": [],
}

PLAN_TEXT = """\
+ listener web
~ service web  weight 1 to 3
- chain nat-x-4  drift: changed by somebody else

Set by the operator, and kept:
  web 10.0.1.2:80: draining, weight 2

12 live flows kept, 1 ended."""

EXPLAIN = {
    "verdict": "forward", "listener": "web", "service": "web", "backend": None,
    "candidates": [{"backend": "10.0.1.2:80", "probability": 0.75}, {"backend": "10.0.2.2:80", "probability": 0.25}],
    "steps": ["listener web takes it", "it picks"],
}  # fmt: skip

EXPLAIN_TEXT = """\
forward  listener web, service web

  1. listener web takes it
  2. it picks

BACKEND      PROBABILITY
10.0.1.2:80        75.0%
10.0.2.2:80        25.0%"""

FINDINGS = {
    "findings": [
        {
            "level": "problem",
            "name": "ip_forward",
            "what": "is 0",
            "fix": "sysctl -w net.ipv4.ip_forward=1",
            "safe": True,
        },
        {"level": "ok", "name": "nf_tables", "what": "all there", "fix": "", "safe": False},
    ]
}

FINDINGS_TEXT = """\
problem  ip_forward: is 0
         fix: sysctl -w net.ipv4.ip_forward=1  (or: lbctl doctor --fix)
ok       nf_tables: all there
1 problem"""

ADMIN = {"service": "web", "backend": "10.0.1.2:80", "admin": "draining", "weight": 1, "active": 1, "warnings": []}

TEXTS = [
    (status.text(STATUS), STATUS_TEXT),
    (status.text({"listeners": [], "services": []}), "Nothing is in force."),
    (flows.text([FLOW]), FLOWS_TEXT),
    (flows.text([]), "No live flow."),
    (plan.text(PLAN), PLAN_TEXT),
    (plan.text({"changes": [], "flows": {"kept": 0, "ended": 0}}), "Nothing to change.\n\n0 live flows kept, 0 ended."),
    (
        apply.text({**PLAN, "changes": [], "overrides": [], "file": "lb.yaml", "confirm": 60.0}),
        "Nothing to change.\n\n"
        "lb.yaml is in force. 12 live flows kept, 1 ended. Rolled back in 60 s unless `lbctl confirm` comes.",
    ),
    (apply.flushed({"removed": False}), "Nothing of lbctl was in the kernel."),
    (explain.text(EXPLAIN), EXPLAIN_TEXT),
    (doctor.text(FINDINGS), FINDINGS_TEXT),
    (admin.text(ADMIN), "web 10.0.1.2:80: draining, weight 1, 1 active flow"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_texts(text: str, expected: str) -> None:
    assert unstyle(text) == expected


def test_long_changes_are_cut() -> None:
    changes = [{"action": "add", "kind": "listener", "name": f"l{n}"} for n in range(100)]
    lines = unstyle(apply.changes_text(changes)).splitlines()
    assert lines[-1] == "… and 60 more"
    assert len(lines) == 41
