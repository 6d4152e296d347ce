"""What explain says beforehand, held against where the kernel then sends the flow."""

from __future__ import annotations

import pytest

from cli.lab.plan import CROWD4, CROWD6, ECHO_PORT, LISTEN, server_at
from lb4.address import Endpoint, Family, IPAddress, parse_endpoint
from tests.lab import Balancer, Lab, addresses

pytestmark = pytest.mark.root

CROWD = {"ip": CROWD4, "ip6": CROWD6}
SCHEDULERS = {80: "source-hash", 81: "maglev"}
REJECTED, DENIED, AFFINE = 82, 83, 84
FILE = """version: 1
listeners:
  hash: {{bind: [{binds80}], service: hash}}
  maglev: {{bind: [{binds81}], service: maglev}}
  empty: {{bind: [{binds82}], service: empty}}
  denied: {{bind: [{binds83}], service: hash, deny: [10.128.0.0/16, "2001:db8:c::/64"]}}
  affine: {{bind: [{binds84}], service: affine}}
services:
  hash: {{scheduler: source-hash, backends: [{{address: {first}, weight: 2}}, {rest}]}}
  maglev: {{scheduler: maglev, backends: [{{address: {first}, weight: 2}}, {rest}]}}
  empty: {{backends: [{none}]}}
  affine: {{affinity: {{key: client-ip, timeout: 10m}}, backends: [{first}, {rest}]}}
"""


def file() -> str:
    backends = [*addresses(ECHO_PORT), *addresses(ECHO_PORT, "ip6")]
    binds = {f"binds{port}": ", ".join(f'"{Endpoint(ip, port)}"' for ip in LISTEN.values()) for port in range(80, 85)}
    none = ", ".join(f"{{address: {address}, weight: 0}}" for address in (backends[0], backends[3]))
    return FILE.format(first=backends[0], rest=", ".join(backends[1:]), none=none, **binds)


def said(lb: Balancer, client: IPAddress, port: int, protocol: str = "tcp") -> dict[str, object]:
    target = Endpoint(LISTEN["ip" if client.version == 4 else "ip6"], port)
    found: dict[str, object] = lb.do(
        "explain", protocol=protocol, client=str(Endpoint(client, 40000)), target=str(target)
    )
    return found


def server(found: dict[str, object]) -> str:
    return server_at(parse_endpoint(str(found["backend"])).ip)


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_explain_agrees_with_the_kernel(lb: Balancer, lab: Lab, family: Family) -> None:
    lb.apply(file())
    for port in SCHEDULERS:
        clients = [CROWD[family][257 * n + 1] for n in range(1, 25)]
        predicted = [server(said(lb, client, port)) for client in clients]
        assert predicted == [lab.who("tcp", (LISTEN[family], port), source=client)[0] for client in clients]
        assert len(set(predicted)) == 3
    client = CROWD[family][7]
    assert list(said(lb, client, 80)["steps"])[:2] == [  # type: ignore[call-overload]
        "listener hash has mode nat: the kernel serves it",
        "service hash picks by source-hash",
    ]
    assert said(lb, client, REJECTED)["verdict"] == "reject"
    with pytest.raises(ConnectionRefusedError):
        lab.connect("tcp", (LISTEN[family], REJECTED), source=client)
    assert said(lb, client, DENIED)["verdict"] == "drop"
    assert said(lb, LISTEN[family], DENIED)["verdict"] == "forward"
    assert said(lb, client, 85)["verdict"] == "pass"


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_explain_knows_what_affinity_has_learnt(lb: Balancer, lab: Lab, family: Family) -> None:
    lb.apply(file())
    client = CROWD[family][9]
    before = said(lb, client, AFFINE)
    assert (before["backend"], len(before["candidates"])) == (None, 3)  # type: ignore[arg-type]
    took = lab.who("tcp", (LISTEN[family], AFFINE), source=client)[0]
    assert server(said(lb, client, AFFINE)) == took
    assert lab.turns("tcp", (LISTEN[family], AFFINE), 4, source=client) == [took] * 4
