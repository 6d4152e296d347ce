"""Scene `keepalive`: a quiet and a busy client on kept-alive connections, through layer 4 and through layer 7.

The rule: bounded: a few seconds of at most BUSY requests a second; the servers' own answers are counted.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter

from cli.demo.scene import Report
from cli.demo.stage import Stage, request
from cli.lab.plan import LISTEN4, SERVERS, address_of

TITLE = "One busy client: layer 4 sends all of it to one server, layer 7 spreads it"

QUIET, BUSY = 1, 50
"""Requests a second of client A and of client B."""
SECONDS = 3
PORTS = {"layer 4": 80, "layer 7": 8080}
TWO = SERVERS[:2]

CONFIGURATION = f"""\
version: 1
listeners:
  l4: {{bind: "{LISTEN4}:{PORTS["layer 4"]}", service: web}}
  l7: {{bind: "{LISTEN4}:{PORTS["layer 7"]}", mode: http, routes: [{{match: {{path_prefix: /}}, service: requests}}]}}
services:
  web: {{backends: [{", ".join(f'"{address_of(server)}:8080"' for server in TWO)}]}}
  requests: {{backends: [{", ".join(f'"{address_of(server)}:8080"' for server in TWO)}]}}
"""


def play(stage: Stage, report: Report) -> None:
    """Plays the scene."""
    stage.run(stage.write(CONFIGURATION))
    shares = {layer: _share(stage, port) for layer, port in PORTS.items()}
    rows = [(server, *(_written(shares[layer], server) for layer in PORTS)) for server in TWO]
    title = f"Requests in {SECONDS} s: client A {QUIET}/s, client B {BUSY}/s, one kept connection each"
    report.figure(title, ("server", *PORTS), rows)
    four, seven = (_ratio(shares[layer]) for layer in PORTS)
    report.claim("at layer 4 one server does nearly all the work", four >= BUSY / QUIET * 0.5, f"{four:.0f} to 1")
    report.claim("at layer 7 both do the same", seven <= 1.1, f"{seven:.2f} to 1")


def _share(stage: Stage, port: int) -> Counter[str]:
    """Requests by server, of both clients together."""
    counts: Counter[str] = Counter()
    connections = [stage.connect((str(LISTEN4), port)) for _ in (QUIET, BUSY)]
    asking = [
        threading.Thread(target=_ask, args=(connection, rate, counts))
        for connection, rate in zip(connections, (QUIET, BUSY), strict=True)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    for connection in connections:
        connection.close()
    return counts


def _ask(connection: http.client.HTTPConnection, rate: int, counts: Counter[str]) -> None:
    begun = time.monotonic()
    for number in range(rate * SECONDS):
        time.sleep(max(0.0, begun + number / rate - time.monotonic()))
        counts[json.loads(request(connection)[1])["server"]] += 1


def _written(counts: Counter[str], server: str) -> str:
    return f"{counts[server]} ({100 * counts[server] / counts.total():.0f}%)"


def _ratio(counts: Counter[str]) -> float:
    """How many times the work of the less busy server the other one does."""
    shares = sorted(counts[server] for server in TWO)
    return shares[1] / shares[0] if shares[0] else float("inf")
