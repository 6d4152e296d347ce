"""Scene `http`: the article's proxy. 401 without credentials, Pong, 404, and two servers found by DNS taken in turn.

The rule: all requests of the turns go over one client connection, and the servers' own words say who answered.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from cli.demo.scene import Report
from cli.demo.stage import Stage, request, whoami
from cli.lab.plan import DOMAIN, HTTP_PORTS, LISTEN4, SERVERS

PORT = 8443
TARGET = (str(LISTEN4), PORT)
BACKENDS = [f"dns:{server}.{DOMAIN}:{port}" for server, port in zip(SERVERS, HTTP_PORTS, strict=False)]

CONFIGURATION = f"""\
version: 1
listeners:
  api:
    bind: {LISTEN4}:{PORT}
    mode: http
    auth: {{header: Authorization}}
    routes:
      - {{match: {{path: /ping}}, service: ping}}
      - {{match: {{path_prefix: /whoami}}, service: ping}}
services:
  ping: {{backends: [{", ".join(f'"{backend}"' for backend in BACKENDS)}]}}
"""

CREDENTIALS = {"Authorization": "Bearer anything"}
CASES: Sequence[tuple[str, str, Mapping[str, str], int, bytes]] = (
    ("no Authorization → 401", "/ping", {}, 401, b""),
    ("an empty Authorization → 401", "/ping", {"Authorization": ""}, 401, b""),
    ("/ping → Pong", "/ping", CREDENTIALS, 200, b"Pong\n"),
    ("anything else → 404", "/payments", CREDENTIALS, 404, b""),
)

TITLE = "Layer 7: the balancer reads every request"
TURNS = 8


def play(stage: Stage, report: Report) -> None:
    """Plays the scene."""
    stage.run(stage.write(CONFIGURATION))
    # Names that a slow machine has not looked up yet do not keep lbctl from being ready.
    stage.until(lambda: len({backend["name"] for backend in _backends(stage)}) == len(BACKENDS))
    connection = stage.connect(TARGET)
    before = _requests(stage)
    _cases(report, connection)
    touched = _requests(stage) - before
    report.claim("refused requests never reached a server", touched == 1, f"{touched} of {len(CASES)} did")
    _turns(report, connection)
    connection.close()


def _cases(report: Report, connection: http.client.HTTPConnection) -> None:
    answers = [request(connection, path, headers) for _, path, headers, _, _ in CASES]
    rows = []
    for (_, path, headers, _, _), (status, body) in zip(CASES, answers, strict=True):
        sent = f"Authorization: {headers['Authorization']}" if "Authorization" in headers else "-"
        rows.append((f"GET {path}", sent, str(status), body.decode().strip()))
    report.figure("One client connection", ("request", "header", "status", "body"), rows)
    for (words, _, _, wanted, said), (status, body) in zip(CASES, answers, strict=True):
        report.claim(words, status == wanted and (not said or body == said), f"{status}")


def _turns(report: Report, connection: http.client.HTTPConnection) -> None:
    answers = [whoami(connection, "/whoami", CREDENTIALS) for _ in range(TURNS)]
    order = [f"{each['server']}:{each['local'].rpartition(':')[2]}" for each in answers]
    turns = len(set(order)) == 2 and all(one != two for one, two in pairwise(order))
    ports = {each.rpartition(":")[2] for each in order} == {str(port) for port in HTTP_PORTS}
    report.claim(
        "requests of one client connection alternate between both", turns and ports, " ".join(order[:4]) + " …"
    )


def _backends(stage: Stage) -> list[Mapping[str, Any]]:
    """What status says of the addresses that were found."""
    (service,) = stage.lbctl("status")["services"]
    found: list[Mapping[str, Any]] = service["backends"]
    return found


def _requests(stage: Stage) -> int:
    """How many requests the balancer passed on so far."""
    return sum(int(backend["connections"]["total"]) for backend in _backends(stage))
