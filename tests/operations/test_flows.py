"""What becomes of live flows, and how they are seen."""

from __future__ import annotations

import socket
import time
from dataclasses import replace

import pytest

from cli.operations import perform_here
from cli.operations.context import passing_context
from cli.operations.error import OperationError
from lb4.address import Endpoint, parse_endpoint
from tests.operations.balancer import (
    BOTH,
    FIRST,
    SECOND,
    UDP_FIRST,
    UDP_SECOND,
    WEB,
    WEB_FIRST,
    WEB_SECOND,
    Balancer,
    asked,
    asked_by_udp,
)
from tests.packet.network import BIND, CLIENT, SOURCES

pytestmark = pytest.mark.root

AT = {"server0": FIRST, "server1": SECOND}
UDP_AT = {"server0": UDP_FIRST, "server1": UDP_SECOND}
LEAVES = {"server0": WEB_SECOND, "server1": WEB_FIRST}


def without(text: str, backend: str) -> str:
    return text.replace(f'"{backend}", ', "").replace(f', "{backend}"', "")


def other(who: str) -> str:
    return "server1" if who == "server0" else "server0"


def test_a_udp_client_moves_at_once_when_its_backend_is_removed(lb: Balancer) -> None:
    lb.apply(BOTH)
    with lb.client(socket.SOCK_DGRAM) as client:
        who = asked_by_udp(client)
        assert {asked_by_udp(client) for _ in range(5)} == {who}
        done = lb.apply(without(BOTH, UDP_AT[who]))
        assert done["flows"]["ended"] == 1
        assert asked_by_udp(client) == other(who)


def test_a_tcp_connection_of_a_removed_backend_ends(lb: Balancer) -> None:
    lb.apply(WEB)
    with lb.connected() as client:
        who = asked(client)
        assert lb.do("plan", path=lb.file(LEAVES[who]))["flows"] == {"kept": 0, "ended": 1}
        lb.apply(LEAVES[who])
        assert lb.do("flows", service="web") == []
        with pytest.raises(OSError, match=r"reset|timed out"):
            asked(client)


def test_a_tcp_connection_of_a_drained_backend_lives_on_over_its_removal(lb: Balancer) -> None:
    lb.apply(WEB)
    with lb.connected() as client:
        who = asked(client)
        assert lb.do("drain", service="web", backend=AT[who])["active"] == 1
        assert set(lb.answers(4)) == {other(who)}
        lb.apply(LEAVES[who])
        lb.apply(LEAVES[who] + "# again\n")
        assert asked(client) == who


def test_flows_of_a_removed_listener_end_and_others_stay(lb: Balancer) -> None:
    lb.apply(BOTH)
    with lb.connected() as tcp, lb.client(socket.SOCK_DGRAM) as udp:
        who = asked(tcp)
        asked_by_udp(udp)
        assert lb.apply(WEB)["flows"] == {"kept": 1, "ended": 1}
        assert asked(tcp) == who
        udp.settimeout(0.3)
        with pytest.raises(OSError, match=r"refused|timed out"):
            asked_by_udp(udp)


def test_flows_with_all_four_addresses(lb: Balancer) -> None:
    lb.apply(WEB)
    with lb.connected() as client:
        who = asked(client)
        (flow,) = lb.do("flows")
        port = client.getsockname()[1]
        number = int(who[-1])
        assert flow["listener"], flow["service"] == ("web", "web")
        assert (flow["client"], flow["target"]) == (f"{CLIENT}:{port}", f"{BIND}:80")
        assert (flow["source"], flow["backend"]) == (f"{SOURCES[number]}:{port}", AT[who])
        assert (flow["protocol"], flow["state"]) == ("tcp", "ESTABLISHED")
        assert all(flow["packets"])
        assert all(flow["bytes"])


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        ({}, 2),
        ({"service": "web"}, 2),
        ({"backend": FIRST}, 1),
        ({"backend": "10.0.2.2"}, 1),
        ({"backend": "10.0.2.2:81"}, 0),
        ({"client": CLIENT}, 2),
        ({"client": "10.0.0.0/24"}, 2),
        ({"client": "10.9.0.0/24"}, 0),
    ],
)
def test_filters(lb: Balancer, wanted: dict[str, str], number: int) -> None:
    lb.apply(WEB)
    with lb.connected() as one, lb.connected() as two:
        asked(one), asked(two)
        assert len(lb.do("flows", **wanted)) == number


def test_unknown_names_are_told_with_what_was_meant(lb: Balancer) -> None:
    lb.apply(WEB)
    with pytest.raises(OperationError, match="did you mean web"):
        lb.do("flows", service="wed")
    with pytest.raises(OperationError, match=r"no backend '10\.0\.9\.9:8080'"):
        lb.do("drain", service="web", backend="10.0.9.9:8080")


def test_status_counts(lb: Balancer) -> None:
    lb.apply(WEB)
    lb.answers(6)
    with lb.connected() as client:
        who = asked(client)
        document = lb.do("status")
    backends = {each["address"]: each for each in document["services"][0]["backends"]}
    assert sum(each["connections"]["total"] for each in backends.values()) == 7
    assert {address: each["connections"]["active"] for address, each in backends.items() if address == AT[who]} == {
        AT[who]: 1
    }
    assert all(each["packets"] >= 8 and each["bytes"] > 300 for each in backends.values())
    assert document["listeners"] == [
        {
            "name": "web",
            "mode": "nat",
            "protocol": "tcp",
            "bind": [f"{BIND}:80"],
            "service": "web",
            "refused": {},
        }
    ]


def test_counts_survive_an_apply_that_does_not_concern_them(lb: Balancer) -> None:
    lb.apply(WEB)
    lb.answers(4)
    before = lb.do("status", service="web")["services"]
    lb.apply(BOTH)
    totals = [[each["connections"]["total"] for each in s["backends"]] for s in before]
    after = lb.do("status", service="web")["services"]
    assert [[each["connections"]["total"] for each in s["backends"]] for s in after] == totals


def test_affinity_to_a_removed_backend_is_forgotten(lb: Balancer) -> None:
    sticky = WEB.replace("web: {backends", "web: {affinity: {key: client-ip, timeout: 10m}, backends")
    lb.apply(sticky)
    (who,) = lb.answers(5)
    lb.apply(without(sticky, AT[who]))
    assert lb.answers(5) == {other(who): 5}
    lb.apply(sticky)
    assert lb.answers(5) == {other(who): 5}


def test_the_operators_changes_hold_until_they_are_undone(lb: Balancer) -> None:
    lb.apply(WEB)
    lb.do("disable", service="web", backend=FIRST)
    assert lb.answers(4) == {"server1": 4}
    lb.apply(BOTH)
    assert lb.answers(4) == {"server1": 4}
    (backend, _) = lb.do("status", service="web")["services"][0]["backends"]
    assert (backend["admin"], backend["override"]) == ("disabled", {"admin": "disabled"})
    assert lb.do("plan", path=lb.file(BOTH))["overrides"] == [{"service": "web", "backend": FIRST, "admin": "disabled"}]
    lb.do("enable", service="web", backend="10.0.1.2")
    assert lb.answers(4) == {"server0": 2, "server1": 2}
    assert lb.do("plan", path=lb.file(BOTH))["overrides"] == []


def test_disabling_ends_flows_and_draining_does_not(lb: Balancer) -> None:
    lb.apply(WEB)
    with lb.connected() as one, lb.connected() as two:
        first = {asked(one): one, asked(two): two}
        lb.do("drain", service="web", backend=FIRST)
        lb.do("disable", service="web", backend=SECOND)
        assert asked(first["server0"]) == "server0"
        with pytest.raises(OSError, match=r"reset|timed out"):
            asked(first["server1"])


@pytest.mark.parametrize("before", [("drain", {}), ("weight", {"weight": 0})])
def test_disabling_what_takes_no_new_flow_ends_those_it_has(lb: Balancer, before: tuple[str, dict[str, int]]) -> None:
    """The kernel's table is the same before and after."""
    lb.apply(WEB)
    with lb.connected() as one, lb.connected() as two:
        first = {asked(one): one, asked(two): two}
        lb.do(before[0], service="web", backend=FIRST, **before[1])
        assert asked(first["server0"]) == "server0"
        lb.do("disable", service="web", backend=FIRST)
        with pytest.raises(OSError, match=r"reset|timed out"):
            asked(first["server0"])
        assert asked(first["server1"]) == "server1"


def test_weight(lb: Balancer) -> None:
    lb.apply(WEB)
    assert lb.do("weight", service="web", backend=FIRST, weight=3)["weight"] == 3
    assert lb.answers(8) == {"server0": 6, "server1": 2}
    lb.do("weight", service="web", backend=FIRST, weight=1)
    assert lb.answers(8) == {"server0": 4, "server1": 4}
    assert lb.do("plan", path=lb.file(WEB))["overrides"] == []


def test_no_backend_left_is_told_and_refused_at_once(lb: Balancer) -> None:
    lb.apply(WEB_FIRST)
    done = lb.do("drain", service="web", backend=FIRST)
    assert "refused" in done["warnings"][0]
    began = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        lb.connected()
    assert time.monotonic() - began < 2
    assert lb.do("status")["listeners"][0]["refused"] == {"no backend": 1}


class Recovering:
    """What `lbctl run` knows while the first backend's weight grows."""

    def steps(self) -> dict[tuple[str, Endpoint], int]:
        return {("web", parse_endpoint(FIRST)): 1}

    def assistance(self) -> None:
        return None

    configuration = assistance

    def health(self) -> dict[str, str]:
        return {}

    addresses = health


def test_explain_goes_by_the_weights_that_are_in_force(lb: Balancer) -> None:
    lb.apply(WEB)
    asked = {"protocol": "tcp", "client": f"{CLIENT}:41000", "target": f"{BIND}:80"}
    with lb.network.inside("lb"), passing_context(lb.environment) as context:
        found = perform_here(replace(context, runtime=Recovering()), "explain", asked)["candidates"]
    assert {each["backend"]: round(each["probability"], 3) for each in found} == {FIRST: 0.091, SECOND: 0.909}


def test_all_works_with_nothing_in_force(lb: Balancer) -> None:
    assert lb.do("flows") == []
    assert lb.do("status")["services"] == []
    assert lb.do("flush") == {"removed": False}
    assert lb.do("refresh") == {"changed": False, "ended": 0}
    assert lb.do("doctor")["findings"]
    for name in ("drain", "enable", "disable"):
        with pytest.raises(OperationError, match="nothing is in force"):
            lb.do(name, service="web", backend=FIRST)
    with pytest.raises(OperationError, match="nothing waits"):
        lb.do("confirm")


def test_status_of_one_service_has_every_listener_that_leads_to_it(lb: Balancer) -> None:
    lb.apply(f"""version: 1
listeners:
  kernel: {{bind: "{BIND}:80", service: web}}
  own: {{bind: "{BIND}:81", mode: http, service: web}}
  routed: {{bind: "{BIND}:82", mode: http, routes: [{{match: {{path: /a}}, split: {{web: 1, other: 1}}}}]}}
  named: {{bind: "{BIND}:83", mode: terminate, service: other, sni: {{a.test: web}}}}
  none: {{bind: "{BIND}:84", service: other}}
services:
  web: {{backends: ["{FIRST}"]}}
  other: {{backends: ["{SECOND}"]}}
""")
    document = lb.do("status", service="web")
    assert [listener["name"] for listener in document["listeners"]] == ["kernel", "named", "own", "routed"]
    assert [service["name"] for service in document["services"]] == ["web"]
    assert len(lb.do("status")["listeners"]) == 5
