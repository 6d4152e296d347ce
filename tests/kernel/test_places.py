"""Where flows may come from and go to: ranges of ports, several binds, a backend that is its own client, the balancer
itself as a client, several source addresses."""

from __future__ import annotations

import pytest

from cli.lab.plan import BALANCER, ECHO_PORT, LISTEN, OTHER_LISTEN, RANGE_PORTS, SERVERS, address_of, source_towards
from lb4.address import Endpoint, Family, parse_endpoint
from tests.lab import Balancer, Lab, addresses, listen, shares

pytestmark = pytest.mark.root

FAMILIES = pytest.mark.parametrize("family", ["ip", "ip6"])
PROTOCOLS = pytest.mark.parametrize("protocol", ["tcp", "udp"])


def file(listener: str, backends: list[str], more: str = "") -> str:
    return f"""version: 1
listeners:
  echo: {{{listener}, service: echo}}
services:
  echo: {{backends: [{", ".join(backends)}]{more}}}
"""


@FAMILIES
@PROTOCOLS
def test_a_range_keeps_the_clients_port(lb: Balancer, lab: Lab, protocol: str, family: Family) -> None:
    first, last = RANGE_PORTS[0], RANGE_PORTS[-1]
    bind = f"[{LISTEN[family]}]" if family == "ip6" else str(LISTEN[family])
    hosts = [f'"{address_of(server, family)}"' for server in SERVERS]
    lb.apply(file(f'bind: "{bind}:{first}-{last}", protocol: {protocol}', hosts))
    turns = []
    for port in (first, first + 4, last):
        with lab.connect(protocol, listen(port, family)) as sock:
            if protocol == "udp":
                sock.send(b"who")
            turns.append(sock.recv(100).split()[0].decode())
    assert set(turns) == set(SERVERS)
    flows = [[parse_endpoint(flow[end]).port for end in ("target", "backend")] for flow in lb.do("flows")]
    assert sorted(flows) == [[port, port] for port in (first, first + 4, last)]
    with pytest.raises(ConnectionRefusedError):
        lab.who(protocol, listen(last + 1, family))


def test_a_backend_without_a_port_gets_the_listeners(lb: Balancer, lab: Lab) -> None:
    lb.apply(file(f'bind: "{Endpoint(LISTEN["ip"], ECHO_PORT)}"', [f'"{address_of(SERVERS[1])}"']))
    assert lab.who("tcp", listen(ECHO_PORT))[0] == SERVERS[1]


def test_every_bind(lb: Balancer, lab: Lab) -> None:
    binds = [(ip, port) for ip in (*LISTEN.values(), *OTHER_LISTEN.values()) for port in (80, 81)]
    written = ", ".join(f'"{Endpoint(ip, port)}"' for ip, port in binds)
    lb.apply(file(f"bind: [{written}]", addresses(ECHO_PORT) + addresses(ECHO_PORT, "ip6")))
    assert {lab.who("tcp", bind)[0] for bind in binds} <= set(SERVERS)
    (service,) = lb.do("status")["services"]
    assert sum(each["connections"]["total"] for each in service["backends"]) == len(binds)


@FAMILIES
@PROTOCOLS
@pytest.mark.parametrize("mode", ["nat", "gateway"])
def test_a_backend_that_is_its_own_client(lb: Balancer, lab: Lab, protocol: str, family: Family, mode: str) -> None:
    bind = Endpoint(LISTEN[family], 80)
    lb.apply(file(f'bind: "{bind}", protocol: {protocol}, mode: {mode}', addresses(ECHO_PORT, family, SERVERS[:1])))
    server, seen = lab.who(protocol, listen(80, family), node=SERVERS[0])
    assert server == SERVERS[0]
    assert parse_endpoint(seen).ip == source_towards(SERVERS[0], family)


@FAMILIES
@PROTOCOLS
@pytest.mark.parametrize("mode", ["nat", "gateway"])
def test_a_client_on_the_balancer(lb: Balancer, lab: Lab, protocol: str, family: Family, mode: str) -> None:
    bind = Endpoint(LISTEN[family], 80)
    lb.apply(file(f'bind: "{bind}", protocol: {protocol}, mode: {mode}', addresses(ECHO_PORT, family)))
    assert shares(lab.turns(protocol, listen(80, family), 6, node=BALANCER)) == dict.fromkeys(SERVERS, 2)


@FAMILIES
def test_several_source_addresses_share_the_load(lb: Balancer, lab: Lab, family: Family) -> None:
    sources = (LISTEN[family], OTHER_LISTEN[family])
    snat = ", ".join(f'"{ip}"' for ip in sources)
    lb.apply(file(f'bind: "{Endpoint(LISTEN[family], 80)}", snat: [{snat}]', addresses(ECHO_PORT, family)))
    seen = [parse_endpoint(lab.who("tcp", listen(80, family))[1]).ip for _ in range(8)]
    assert shares([str(ip) for ip in seen]) == dict.fromkeys(map(str, sorted(sources)), 4)
