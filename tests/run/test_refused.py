"""What is refused, or cannot be done, leaves everybody else as they were."""

from __future__ import annotations

import pytest

from cli.lab.plan import BALANCER, LISTEN4
from cli.operations.error import OperationError
from tests.lab import Lab
from tests.run.files import TERMINATED, WEB, everything, http
from tests.run.load import Connections, Requests
from tests.run.running import Run, until

pytestmark = pytest.mark.root
GONE = "192.0.2.99"


def test_an_apply_that_is_refused_leaves_nothing_open(run: Run, lab: Lab) -> None:
    """Sockets that were opened for it take no client, and nothing of it comes into force later."""
    run.start(http(1))
    obstacle = run.directory / "state" / ".next.yaml.new"
    obstacle.mkdir()
    with pytest.raises(OperationError, match="cannot write"):
        run.do("apply", path=run.file(http(2).replace("  web: {bind", "  other: {bind")))
    obstacle.rmdir()
    asker = Requests(lab, WEB, kept=False)
    for _ in range(12):
        asker.turn()
    run.do("weight", service="web", backend="10.0.1.2:8080", weight=2)
    for _ in range(12):
        asker.turn()
    assert [each["name"] for each in run.do("status")["listeners"]] == ["web"]


def test_a_ca_that_is_none_is_refused(run: Run, lab: Lab) -> None:
    """Before a worker hears of it, which could serve nothing then."""
    run.start(everything())
    (run.directory / "ca.pem").write_text("no certificate at all")
    more = f'''  secure: {{bind: "{LISTEN4}:99", mode: terminate, service: secure}}
services:
  secure: {{backends: ["10.0.1.2:1"], tls: {{ca: ca.pem, server_name: a.test}}}}'''
    with pytest.raises(OperationError, match=r"ca\.pem"):
        run.do("apply", path=run.file(everything().replace("services:", more)))
    Connections(lab, TERMINATED).turn()


def test_an_address_that_moved_away_costs_the_others_nothing(run: Run, lab: Lab) -> None:
    """A service without a backend is refused at a socket whose address the host has no more."""
    lab.shell(BALANCER, "ip", "addr", "add", f"{GONE}/32", "dev", "lo")
    dns = f'''  dns: {{bind: "{GONE}:53", protocol: udp, mode: terminate, service: dns}}
services:
  dns: {{backends: ["10.0.1.2:9000"]}}'''
    run.start(everything().replace("services:", dns))
    before = run.workers()["terminate_worker"]
    lab.shell(BALANCER, "ip", "addr", "del", f"{GONE}/32", "dev", "lo")
    run.do("drain", service="dns", backend="10.0.1.2:9000")
    assert not until(lambda: run.workers()["terminate_worker"] != before, 1.5)
    Connections(lab, TERMINATED).turn()
