"""The configurations of these tests: one service, reached in every mode."""

from __future__ import annotations

from cli.lab.plan import ECHO_PORT, LISTEN4
from tests.lab import addresses

WEB, ECHO, TERMINATED = 80, 81, 82
CHECK = "health: {type: tcp, every: 200ms, timeout: 200ms, rise: 1, fall: 2}"


def backends(port: int, count: int = 3) -> str:
    return ", ".join(addresses(port)[:count])


def http(count: int = 3, more: str = "") -> str:
    """Mode http on WEB."""
    return f"""version: 1
workers: 2
listeners:
  web: {{bind: "{LISTEN4}:{WEB}", mode: http, access_log: "off", routes: [{{match: {{path_prefix: /}}, service: web}}]}}
services:
  web: {{backends: [{backends(8080, count)}]}}
{more}"""


def everything(count: int = 3, check: str = CHECK) -> str:
    """http, nat and terminate."""
    return f"""version: 1
workers: 2
listeners:
  web: {{bind: "{LISTEN4}:{WEB}", mode: http, access_log: "off", routes: [{{match: {{path_prefix: /}}, service: web}}]}}
  echo: {{bind: "{LISTEN4}:{ECHO}", service: echo}}
  terminated: {{bind: "{LISTEN4}:{TERMINATED}", mode: terminate, service: echo}}
services:
  web: {{backends: [{backends(8080, count)}], {check}}}
  echo: {{backends: [{backends(ECHO_PORT, count)}], {check}}}
"""


def nat(count: int = 3, more: str = CHECK, top: str = "") -> str:
    """Mode nat on ECHO."""
    more = f", {more}" if more else ""
    return f"""version: 1
{top}
listeners:
  echo: {{bind: "{LISTEN4}:{ECHO}", service: echo}}
services:
  echo: {{backends: [{backends(ECHO_PORT, count)}]{more}}}
"""
