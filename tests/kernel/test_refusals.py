"""Who is not let in: at once, told so, and counted."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from cli.lab.plan import BALANCER, CLIENT, CROWD4, CROWD6, ECHO_PORT, LISTEN, SERVERS, address_of
from lb4.address import Endpoint, Family, IPAddress
from tests.lab import Balancer, Lab, addresses, greeting, listen

pytestmark = pytest.mark.root

FAMILIES = pytest.mark.parametrize("family", ["ip", "ip6"])
PROTOCOLS = pytest.mark.parametrize("protocol", ["tcp", "udp"])
CROWD = {"ip": CROWD4, "ip6": CROWD6}


def file(family: Family, protocol: str = "tcp", listener: str = "", service: str = "") -> str:
    return f"""version: 1
listeners:
  echo: {{bind: "{Endpoint(LISTEN[family], 80)}", protocol: {protocol}, service: echo{listener}}}
services:
  echo: {{backends: [{", ".join(addresses(ECHO_PORT, family))}]{service}}}
"""


def refused(lb: Balancer) -> dict[str, int]:
    """By reason, as `status` has it."""
    (listener,) = lb.do("status")["listeners"]
    return {reason: count for reason, count in listener["refused"].items() if count}


def let_in(lab: Lab, family: Family, source: IPAddress | None = None, protocol: str = "tcp") -> bool:
    """Whether a client is answered; what is dropped and what is refused are both no."""
    with lab.sock(protocol, family, source=source) as sock:
        sock.settimeout(0.3)
        try:
            sock.connect((str(LISTEN[family]), 80))
            if protocol == "udp":
                sock.send(b"who")
            return bool(sock.recv(100))
        except OSError:
            return False


@FAMILIES
@PROTOCOLS
@pytest.mark.parametrize("word", ["allow", "deny"])
def test_prefixes(lb: Balancer, lab: Lab, family: Family, protocol: str, word: str) -> None:
    lb.apply(file(family, protocol, f', {word}: ["{CROWD[family]}"]'))
    assert let_in(lab, family, CROWD[family][5], protocol) is (word == "allow")
    assert let_in(lab, family, None, protocol) is (word == "deny")
    assert sum(refused(lb).values()) >= 1


def test_deny_wins(lb: Balancer, lab: Lab) -> None:
    lb.apply(file("ip", listener=f', allow: ["{CROWD4}"], deny: ["{CROWD4[5]}/32"]'))
    assert [let_in(lab, "ip", CROWD4[i]) for i in (4, 5, 6)] == [True, False, True]


@FAMILIES
@pytest.mark.parametrize("per_client", [False, True])
def test_connections_at_once(lb: Balancer, lab: Lab, family: Family, per_client: bool) -> None:
    name = "connections_per_client" if per_client else "connections"
    lb.apply(file(family, listener=f", limits: {{{name}: 2}}"))
    held = [lab.connect("tcp", listen(80, family)) for _ in range(2)]
    try:
        assert not let_in(lab, family)
        assert let_in(lab, family, CROWD[family][9]) is per_client
        assert sum(refused(lb).values()) >= 1
    finally:
        for sock in held:
            sock.close()


@FAMILIES
@pytest.mark.parametrize("per_client", [False, True])
def test_new_connections(lb: Balancer, lab: Lab, family: Family, per_client: bool) -> None:
    name = "new_connections_per_client" if per_client else "new_connections"
    lb.apply(file(family, listener=f", limits: {{{name}: 3/m}}"))
    answers = [let_in(lab, family) for _ in range(12)]
    assert answers[:3] == [True] * 3
    assert not all(answers)
    assert let_in(lab, family, CROWD[family][9]) is per_client
    assert sum(refused(lb).values()) >= 1


@pytest.mark.parametrize("key", [
    "connections", "connections_per_client", "new_connections", "new_connections_per_client",
])  # fmt: skip
def test_another_limit_holds_for_clients_that_are_known(lb: Balancer, lab: Lab, key: str) -> None:
    unit = "/h" if key.startswith("new") else ""
    lb.apply(file("ip", listener=f", limits: {{{key}: 1{unit}}}"))
    with lab.connect("tcp", listen(80)) as held:
        greeting(held)
        assert not let_in(lab, "ip")
        lb.apply(file("ip", listener=f", limits: {{{key}: 3{unit}}}"))
        assert let_in(lab, "ip")


SILENT = 9
"""A port of the servers that takes datagrams and answers none."""


def sent(sock: socket.socket, times: int = 6) -> None:
    """Datagrams of one flow. Raises ConnectionRefusedError where one was refused."""
    for _ in range(times):
        sock.send(b"logged")
        time.sleep(0.02)


@pytest.fixture
def silent(lab: Lab) -> Iterator[list[socket.socket]]:
    """Sockets of all servers that take datagrams and answer none."""
    sinks = [lab.sock("udp", node=server) for server in SERVERS]
    for sink in sinks:
        sink.bind(("0.0.0.0", SILENT))
        sink.setblocking(False)
    yield sinks
    for sink in sinks:
        sink.close()


def taken(sinks: list[socket.socket]) -> int:
    """How many datagrams came to any of them."""
    count = 0
    for sink in sinks:
        with suppress(BlockingIOError):
            while sink.recv(100):
                count += 1
    return count


@pytest.mark.parametrize("key", ["new_connections", "new_connections_per_client"])
def test_a_flow_that_nobody_answers_counts_once(lb: Balancer, lab: Lab, silent: list[socket.socket], key: str) -> None:
    text = file("ip", "udp", f", limits: {{{key}: 2/h}}").replace(f":{ECHO_PORT}", f":{SILENT}")
    lb.apply(text)
    for _ in range(2):
        with lab.connect("udp", listen(80)) as client:
            sent(client)
    assert taken(silent) == 12
    with lab.connect("udp", listen(80)) as client, pytest.raises(ConnectionRefusedError):
        sent(client)
    assert taken(silent) == 0


def test_a_flow_that_nobody_answers_goes_on_while_its_backend_is_drained(
    lb: Balancer, lab: Lab, silent: list[socket.socket]
) -> None:
    backend = f"{address_of(SERVERS[0])}:{SILENT}"
    echo = ", ".join(addresses(ECHO_PORT))
    lb.apply(file("ip", "udp").replace(echo, f'"{backend}"'))
    with lab.connect("udp", listen(80)) as client:
        sent(client)
        lb.do("drain", service="echo", backend=backend)
        sent(client)
        assert taken(silent) == 12
    with lab.connect("udp", listen(80)) as client, pytest.raises(ConnectionRefusedError):
        sent(client)


@FAMILIES
@PROTOCOLS
@pytest.mark.parametrize("mode", ["nat", "gateway"])
def test_no_backend_left_is_told_at_once(lb: Balancer, lab: Lab, family: Family, protocol: str, mode: str) -> None:
    lb.apply(file(family, protocol, f", mode: {mode}"))
    for backend in addresses(ECHO_PORT, family):
        lb.do("disable", service="echo", backend=backend.strip('"'))
    with pytest.raises(ConnectionRefusedError):
        lab.who(protocol, listen(80, family))
    assert sum(refused(lb).values()) >= 1


@FAMILIES
@PROTOCOLS
def test_the_hosts_own_service_is_never_reached(lb: Balancer, lab: Lab, family: Family, protocol: str) -> None:
    lb.apply(file(family, protocol))
    for backend in addresses(ECHO_PORT, family):
        lb.do("weight", service="echo", backend=backend.strip('"'), weight=0)
    with lab.sock(protocol, family, node=BALANCER) as own:
        own.bind((str(LISTEN[family]), 80))
        if protocol == "tcp":
            own.listen()
        own.setblocking(False)
        assert not let_in(lab, family, protocol=protocol)
        with pytest.raises(BlockingIOError):
            own.accept() if protocol == "tcp" else own.recv(100)


def test_refusals_are_not_of_others(lb: Balancer, lab: Lab) -> None:
    lb.apply(file("ip", listener=f', deny: ["{address_of(CLIENT)}/32"]'))
    assert not let_in(lab, "ip")
    assert lab.who("tcp", (address_of("server1"), ECHO_PORT))[0] == "server1"
