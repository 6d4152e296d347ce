"""Who gets the next flow: turns, weights, hashes, affinity, judged by who answers."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from cli.lab.plan import CLIENT, CROWD4, CROWD6, ECHO_PORT, LISTEN, SERVERS, address_of
from lb4.address import Endpoint, Family
from tests.lab import Balancer, Lab, addresses, listen, shares

pytestmark = pytest.mark.root

PORT = 80
ADDRESS = listen(PORT)
CROWD = {"ip": CROWD4, "ip6": CROWD6}


def file(service: str, protocol: str = "tcp", family: Family = "ip") -> str:
    return f"""version: 1
listeners:
  echo: {{bind: "{Endpoint(LISTEN[family], PORT)}", protocol: {protocol}, service: echo}}
services:
  echo: {{{service}}}
"""


def backends(family: Family = "ip") -> str:
    return f"backends: [{', '.join(addresses(ECHO_PORT, family))}]"


def weighted(*weights: int) -> str:
    pairs = zip(addresses(ECHO_PORT), weights, strict=False)
    return f"backends: [{', '.join(f'{{address: {address}, weight: {weight}}}' for address, weight in pairs)}]"


def crowd(lab: Lab, number: int, protocol: str = "udp", family: Family = "ip") -> dict[int, str]:
    """By client, who answers it."""
    address = listen(PORT, family)
    return {i: lab.who(protocol, address, source=CROWD[family][i + 1])[0] for i in range(number)}


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_round_robin(lb: Balancer, lab: Lab, protocol: str, family: Family) -> None:
    lb.apply(file(backends(family), protocol, family))
    turns = lab.turns(protocol, listen(PORT, family), 12)
    assert turns == turns[:3] * 4
    assert shares(turns) == dict.fromkeys(SERVERS, 4)


def test_weights_come_smoothly(lb: Balancer, lab: Lab) -> None:
    lb.apply(file(weighted(3, 1)))
    turns = lab.turns("tcp", ADDRESS, 16)
    assert shares(turns) == {"server1": 12, "server2": 4}
    assert max(len(run) for run in "".join(name[-1] for name in turns).split("2")) <= 3


def test_weight_0_takes_nothing(lb: Balancer, lab: Lab) -> None:
    lb.apply(file(weighted(1, 0, 2)))
    assert shares(lab.turns("tcp", ADDRESS, 9)) == {"server1": 3, "server3": 6}


def test_random_honours_weights(lb: Balancer, lab: Lab) -> None:
    lb.apply(file(f"scheduler: random, {weighted(6, 2)}", "udp"))
    turns = lab.turns("udp", ADDRESS, 400)
    # Binomial, p = 3/4: the mean is 300, and 6 standard deviations are 52.
    assert 248 <= shares(turns)["server1"] <= 352
    assert any(a == b == "server2" for a, b in pairwise(turns))


@pytest.mark.parametrize("scheduler", ["source-hash", "maglev"])
@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_hashes(lb: Balancer, lab: Lab, scheduler: str, family: Family) -> None:
    lb.apply(file(f"scheduler: {scheduler}, {backends(family)}", "udp", family))
    chosen = crowd(lab, 90, family=family)
    assert crowd(lab, 90, family=family) == chosen
    assert all(share >= 12 for share in Counter(chosen.values()).values())
    assert len(set(chosen.values())) == 3


@pytest.mark.parametrize("scheduler", ["source-hash", "maglev"])
@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_explain_says_what_the_kernel_does(lb: Balancer, lab: Lab, scheduler: str, family: Family) -> None:
    lb.apply(file(f"scheduler: {scheduler}, {backends(family)}", "udp", family))
    target = str(Endpoint(LISTEN[family], PORT))
    for i, server in crowd(lab, 30, family=family).items():
        client = str(Endpoint(CROWD[family][i + 1], 40000))
        told = lb.do("explain", protocol="udp", client=client, target=target)
        assert told["verdict"] == "forward"
        assert told["backend"] == str(Endpoint(address_of(server, family), ECHO_PORT))


def test_maglev_moves_few(lb: Balancer, lab: Lab) -> None:
    text = file(f"scheduler: maglev, {backends()}", "udp")
    lb.apply(text)
    before = crowd(lab, 300)
    lb.apply(text.replace(f", {addresses(ECHO_PORT)[2]}", ""))
    after = crowd(lab, 300)
    assert "server3" not in after.values()
    kept = [i for i, server in before.items() if server != "server3"]
    assert sum(before[i] != after[i] for i in kept) <= 300 * 0.02


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_affinity(lb: Balancer, lab: Lab, protocol: str, family: Family) -> None:
    lb.apply(file(f"affinity: {{key: client-ip, timeout: 1m}}, {backends(family)}", protocol, family))
    address = listen(PORT, family)
    assert len(set(lab.turns(protocol, address, 6))) == 1
    assert set(crowd(lab, 9, protocol, family).values()) == set(SERVERS)
    assert crowd(lab, 9, protocol, family) == crowd(lab, 9, protocol, family)


def test_affinity_holds_over_a_change_of_weights(lb: Balancer, lab: Lab) -> None:
    lb.apply(file(f"affinity: {{key: client-ip, timeout: 1m}}, {weighted(1, 1, 1)}"))
    kept = lab.who("tcp", ADDRESS)[0]
    lb.apply(file(f"affinity: {{key: client-ip, timeout: 1m}}, {weighted(5, 5, 4)}"))
    assert set(lab.turns("tcp", ADDRESS, 6)) == {kept}


def test_schedulers_are_per_listener(lb: Balancer, lab: Lab) -> None:
    lb.apply(f"""version: 1
listeners:
  one: {{bind: "{Endpoint(LISTEN["ip"], 80)}", service: echo}}
  two: {{bind: "{Endpoint(LISTEN["ip"], 81)}", service: echo}}
services:
  echo: {{{backends()}}}
""")
    turns = [lab.who("tcp", listen(port))[0] for _ in range(6) for port in (80, 81)]
    assert turns[::2] == turns[:6:2] * 2
    assert turns[1::2] == turns[1:6:2] * 2
    assert CLIENT not in turns
