"""Backends by DNS name under `lbctl run`: each address that was found is a backend the operator may change."""

from __future__ import annotations

import json

import pytest

from cli.lab.plan import CLIENT, LISTEN4, NAME_SERVER
from cli.operations.error import OperationError
from tests.run.running import Run, until

pytestmark = pytest.mark.root

FILE = f"""version: 1
workers: 1
resolvers: ["{NAME_SERVER}"]
listeners:
  web: {{bind: "{LISTEN4}:80", mode: http, access_log: "off", service: web}}
services:
  web: {{backends: ["dns:servers.lab:8080"]}}
  one: {{backends: ["dns:server1.lab:8080"]}}
"""


def four(run: Run, service: str) -> list[str]:
    """The IPv4 addresses in `status`."""
    (found,) = (s for s in run.do("status")["services"] if s["name"] == service)
    return [b["address"] for b in found["backends"] if not b["address"].startswith("[")]


def servers(run: Run, times: int = 12) -> set[str]:
    words = ("curl", "-s", f"http://{LISTEN4}/")
    return {json.loads(run.lab.shell(CLIENT, *words))["server"] for _ in range(times)}


def test_an_address_of_a_name_is_drained(run: Run) -> None:
    run.start(FILE)
    assert until(lambda: len(four(run, "web")) == 3)
    kept, *others = run.do("status", service="web")["services"][0]["backends"]
    for other in others:
        assert run.do("drain", service="web", backend=other["address"])["admin"] == "draining"
    assert until(lambda: len(servers(run)) == 1)
    assert run.do("weight", service="web", backend=kept["address"], weight=7)["weight"] == 7
    for other in others:
        assert run.do("enable", service="web", backend=other["address"])["admin"] == "enabled"
    assert until(lambda: len(servers(run)) == 3)
    run.stop()


def test_a_name_of_one_address_is_as_good(run: Run) -> None:
    run.start(FILE)
    assert until(lambda: four(run, "one"))
    address = four(run, "one")[0].rpartition(":")[0]
    for name in ("server1.lab", "dns:server1.lab:8080"):
        with pytest.raises(OperationError, match="several backends"):
            run.do("drain", service="one", backend=name)
    assert run.do("drain", service="one", backend=address)["admin"] == "draining"
    run.stop()
