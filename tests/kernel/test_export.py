"""The exported scripts, run without lbctl: they load, and they balance."""

from __future__ import annotations

import pytest

from cli.lab.plan import BALANCER, CLIENT, ECHO_PORT, LISTEN, address_of
from lb4.address import Endpoint, Family
from tests.lab import Balancer, Lab, addresses, greeting

pytestmark = pytest.mark.root

LOADERS = {"nft": {"ip": "nft", "ip6": "nft"}, "iptables": {"ip": "iptables-restore", "ip6": "ip6tables-restore"}}


def file(family: Family) -> str:
    first, second, _ = addresses(ECHO_PORT, family)
    return f"""version: 1
listeners:
  turns: {{bind: "{Endpoint(LISTEN[family], 80)}", service: turns}}
  sees: {{bind: "{Endpoint(LISTEN[family], 81)}", mode: gateway, service: turns}}
  chance: {{bind: "{Endpoint(LISTEN[family], 82)}", protocol: udp, service: chance}}
  empty: {{bind: "{Endpoint(LISTEN[family], 83)}", service: empty}}
services:
  turns: {{backends: [{{address: {first}, weight: 3}}, {second}]}}
  chance: {{scheduler: random, backends: [{first}, {second}]}}
  empty: {{backends: [{{address: {first}, weight: 0}}]}}
"""


@pytest.mark.parametrize("family", ["ip", "ip6"])
@pytest.mark.parametrize("format", ["nft", "iptables"])
def test_export_balances(lb: Balancer, lab: Lab, format: str, family: Family) -> None:
    name = "ip6tables" if (format, family) == ("iptables", "ip6") else format
    made = lb.do("export", path=lb.file(file(family)), format=name)
    loader = LOADERS[format][family]
    lab.shell(BALANCER, loader, *(["-f", "-"] if loader == "nft" else []), stdin=made["text"])
    turns = lab.turns("tcp", (LISTEN[family], 80), 8)
    assert [turns.count("server1"), turns.count("server2")] == [6, 2]
    with lab.connect("tcp", (LISTEN[family], 81)) as seen:
        assert str(address_of(CLIENT, family)) in greeting(seen)[1]
    assert set(lab.turns("udp", (LISTEN[family], 82), 20)) == {"server1", "server2"}
    with pytest.raises(ConnectionRefusedError):
        lab.connect("tcp", (LISTEN[family], 83))


def test_a_script_of_nft_takes_the_place_of_the_one_before(lb: Balancer, lab: Lab) -> None:
    made = lb.do("export", path=lb.file(file("ip")), format="nft")["text"]
    lab.shell(BALANCER, "nft", "-f", "-", stdin=made)
    once = lab.shell(BALANCER, "nft", "-s", "list", "ruleset")
    lab.shell(BALANCER, "nft", "-f", "-", stdin=made)
    assert lab.shell(BALANCER, "nft", "-s", "list", "ruleset") == once


def test_limits_of_iptables_are_of_one_listener_and_count_a_silent_flow_once(lb: Balancer, lab: Lab) -> None:
    """One new flow in an hour each: a listener's second flow is refused, more datagrams of its first are not."""
    backend = addresses(ECHO_PORT)[0].replace(f":{ECHO_PORT}", ":9")
    listeners = "".join(
        f'  limits-listen-{port}: {{bind: "{LISTEN["ip"]}:{port}", protocol: udp, service: log, '
        "limits: {new_connections: 1/h}}\n"
        for port in (80, 81)
    )
    text = f"version: 1\nlisteners:\n{listeners}services:\n  log: {{backends: [{backend}]}}\n"
    made = lb.do("export", path=lb.file(text), format="iptables")
    lab.shell(BALANCER, "iptables-restore", stdin=made["text"])
    with lab.sock("udp", node="server1") as sink:
        sink.bind(("0.0.0.0", 9))
        for port in (80, 81):
            with lab.connect("udp", (LISTEN["ip"], port)) as client:
                for _ in range(3):
                    client.send(b"logged")
                    assert sink.recv(100) == b"logged"
            with pytest.raises(ConnectionRefusedError):
                lab.who("udp", (LISTEN["ip"], port))
