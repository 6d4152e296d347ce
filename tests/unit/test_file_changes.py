"""What a plan says of two files that differ in what layer 4 knows nothing of."""

from __future__ import annotations

import pytest

from cli.config.changes import file_changes
from cli.config.loader import load
from cli.config.model import Configuration
from lb4.model import Balancer

FILE = """version: 1
workers: 2
listeners:
  api:
    bind: 192.0.2.10:80
    mode: http
    auth: {header: Authorization}
    routes:
      - {name: ping, match: {path: /ping}, service: web}
      - {name: rest, match: {path_prefix: /}, service: web}
  mail: {bind: "192.0.2.10:25", mode: terminate, service: web}
services:
  web: {backends: ["10.0.1.2:80"]}
"""
NOTHING = Configuration(version=1, workers=None, listeners={}, services={})


def told(before: Configuration, after: Configuration) -> list[str]:
    found = file_changes(before, before.balancer, after, after.balancer)
    return [f"{c.action} {c.kind} {c.name}" + (f": {c.detail}" if c.detail else "") for c in found]


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("", "", []),
        ("path: /ping", "path: /pong", ["change listener api: route ping: match"]),
        ("name: ping", "name: pong", ["change listener api: route ping removed, route pong added"]),
        (
            "    auth: {header: Authorization}\n",
            "",
            ["change listener api: route ping: auth, route rest: auth, route no-route: auth"],
        ),
        ("    auth", "    retries: 0\n    auth", ["change listener api: route ping: retries, route rest: retries"]),
        ("    auth", "    limits: {body: 1KiB}\n    auth", ["change listener api: limits body none → 1024"]),
        ("    auth", "    access_log: 'off'\n    auth", ["change listener api: access log to stdout → off"]),
        (
            "10:80\n    mode: http",
            "10:81\n    mode: http\n    request_id: X-Id",
            ["change listener api: binds 192.0.2.10:80 → 192.0.2.10:81, request id header X-Request-Id → X-Id"],
        ),
        (
            "terminate, service",
            "terminate, timeouts: {idle: 5s}, service",
            ["change listener mail: idle timeout 3600 → 5"],
        ),
        (
            "web: {",
            "web: {ejection: {failures: 3}, ",
            ["change service web: ejection failures 5 → 3"],
        ),
        ("workers: 2\n", "", ["remove setting workers: 2 → none"]),
        ("workers: 2", "workers: 3", ["change setting workers: 2 → 3"]),
        (
            "workers: 2",
            "workers: 2\nmetrics: {bind: '127.0.0.1:9'}",
            ["add setting metrics: none → 127.0.0.1:9"],
        ),
    ],
)
def test_each_change_is_told(was: str, now: str, says: list[str]) -> None:
    before, after = load(FILE, "lb.yaml"), load(FILE.replace(was, now, 1), "lb.yaml")
    assert told(before, after) == says


def test_of_a_first_file_all_is_added() -> None:
    assert all(line.startswith("add ") for line in told(NOTHING, load(FILE, "lb.yaml")))


def test_the_order_of_routes_counts() -> None:
    lines = FILE.splitlines(keepends=True)
    lines[8], lines[9] = lines[9], lines[8]
    assert told(load(FILE, "a"), load("".join(lines), "a")) == [
        "change listener api: route ping: number, route rest: number"
    ]


def test_balanced_alike_and_read_from_elsewhere_is_no_change() -> None:
    assert told(load(FILE, "a.yaml"), load(FILE, "b.yaml")) == []


def test_no_value_of_a_header_is_told() -> None:
    secret = FILE.replace("{header: Authorization}", "{header: {name: X-Key, values: [s3cret]}}")
    (line,) = told(load(FILE, "a"), load(secret, "a"))
    assert "s3cret" not in line


def test_an_empty_balancer_is_enough() -> None:
    assert file_changes(NOTHING, Balancer({}, {}), NOTHING, Balancer({}, {})) == ()
