"""Scene `nat`: the article's two tables, taken from packets; turns, a drain, and a server that dies.

The rule: a cell of a table is what was on the wire, never what was configured.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from cli.demo.capture import Seen, capturing
from cli.demo.scene import Report
from cli.demo.stage import Stage, request
from cli.lab.plan import BALANCER, CLIENT, LISTEN4, SERVERS, address_of, server_at
from lb4.address import Endpoint

TITLE = "Layer 4: the balancer rewrites both addresses of every packet"

PORT = 80
SERVER_PORT = 8080
LISTENER = Endpoint(LISTEN4, PORT)
TARGET = (str(LISTEN4), PORT)

CONFIGURATION = f"""\
version: 1
listeners:
  web: {{bind: "{LISTENER}", service: web}}
services:
  web:
    health: {{type: tcp, every: 200ms, timeout: 2s, rise: 1, fall: 1}}
    backends: [{", ".join(f'"{address_of(server)}:{SERVER_PORT}"' for server in SERVERS)}]
"""


def play(stage: Stage, report: Report) -> None:
    """Plays the scene."""
    path = stage.write(CONFIGURATION)
    stage.lbctl("apply", str(path))
    _tables(stage, report)
    _turns(stage, report)
    stage.run(path)
    _drain(stage, report)
    _death(stage, report)


def _tables(stage: Stage, report: Report) -> None:
    balancer = stage.namespace(BALANCER)
    with capturing(balancer, CLIENT) as outside, ExitStack() as stack:
        inside = [stack.enter_context(capturing(balancer, server)) for server in SERVERS]
        answered = stage.ask(TARGET)
        near = outside.packets()
        far = [seen for capture in inside for seen in capture.packets()]
    client = next((seen.source for seen in near if seen.target == LISTENER), None)
    backend = next((seen.target for seen in far if seen.target.port == SERVER_PORT), None)
    source = next((seen.source for seen in far if seen.target == backend), None)
    if client is None or backend is None or source is None:
        report.claim("packets of a request were seen on both sides", False, f"{len(near)} and {len(far)} packets")
        return
    _table(report, "Request", "client → LB", "LB → server", (near, client, LISTENER), (far, source, backend))
    _table(report, "Response", "server → LB", "LB → client", (far, backend, source), (near, LISTENER, client))
    name = server_at(backend.ip)
    report.claim("the server saw the balancer as its client", answered["client"] == str(source), f"{name}: {source}")
    flow: dict[str, str] = next((f for f in stage.lbctl("flows") if f["client"] == str(client)), {})
    told = [flow.get(key) for key in ("client", "target", "source", "backend")]
    same = told == [str(client), str(LISTENER), str(source), str(backend)]
    report.claim("lbctl flows has the same four addresses", same, "  ".join(map(str, told)))


Wire = tuple[Sequence[Seen], Endpoint, Endpoint]
"""The packets of a wire, and from where to where the wanted ones go."""


def _table(report: Report, name: str, before: str, after: str, arrived: Wire, left: Wire) -> None:
    came, went = _between(*arrived), _between(*left)
    rows = [
        (f"arrives ({before})", str(arrived[1]), str(arrived[2]), str(len(came))),
        (f"leaves  ({after})", str(left[1]), str(left[2]), str(len(went))),
    ]
    report.figure(f"{name} packets", ("", "source", "destination", "packets"), rows)
    changed = arrived[1] != left[1] and arrived[2] != left[2]
    alike = [(seen.flags, seen.payload) for seen in came] == [(seen.flags, seen.payload) for seen in went]
    words = f"on every {name.lower()} packet source and destination both change"
    report.claim(words, changed and bool(came) and alike, f"{len(came)} packets: {' '.join(s.flags for s in came)}")


def _between(packets: Iterable[Seen], source: Endpoint, target: Endpoint) -> list[Seen]:
    return [seen for seen in packets if seen.source == source and seen.target == target]


def _turns(stage: Stage, report: Report) -> None:
    counts = Counter(stage.ask(TARGET)["server"] for _ in range(12))
    report.claim("new connections take turns", set(counts.values()) == {4}, _written(counts))
    connection = stage.connect(TARGET)
    kept = Counter(_server(request(connection)[1]) for _ in range(6))
    connection.close()
    report.claim("requests of one connection stay on one server", len(kept) == 1, _written(kept))


def _server(body: bytes) -> str:
    return str(json.loads(body)["server"])


def _drain(stage: Stage, report: Report) -> None:
    connection = stage.connect(TARGET)
    server = _server(request(connection)[1])
    backend = f"{address_of(server)}:{SERVER_PORT}"
    stage.lbctl("drain", "web", backend)
    counts = Counter(stage.ask(TARGET)["server"] for _ in range(6))
    report.claim(
        "a drained server gets no new connection", server not in counts, f"{server} drained; {_written(counts)}"
    )
    status, _ = request(connection)
    connection.close()
    report.claim("its open connection lives on", status == 200, f"{server} still answers: {status}")
    stage.lbctl("enable", "web", backend)


def _death(stage: Stage, report: Report) -> None:
    victim = SERVERS[-1]
    stage.end_server(victim)
    died = time.monotonic()
    noticed = stage.until(lambda: _health(stage, victim) == "down")
    report.claim("a server that dies is noticed", noticed, f"{victim} down after {time.monotonic() - died:.1f} s")
    counts = Counter(stage.ask(TARGET)["server"] for _ in range(6))
    report.claim("the others take over", set(counts) == set(SERVERS[:-1]), _written(counts))


def _health(stage: Stage, server: str) -> str:
    (service,) = stage.lbctl("status")["services"]
    address = f"{address_of(server)}:{SERVER_PORT}"
    return str(next(b["health"] for b in service["backends"] if b["address"] == address))


def _written(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
