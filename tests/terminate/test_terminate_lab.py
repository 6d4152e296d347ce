"""Mode terminate in a lab: whom backends see, lists and limits over two workers, nobody left to serve UDP."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.lab import namespaces
from cli.lab.plan import BALANCER, CLIENT, CROWD4, LISTEN, SERVERS, address_of
from lb4.worker.privileges import CAP_NET_ADMIN
from tests.lab import Balancer, Lab, addresses, lab, listen

FILE = """
version: 1
workers: 2
listeners:
  clear: {{bind: ["{v4}:80", "[{v6}]:80"], mode: terminate, service: same}}
  seen: {{bind: ["{v4}:81", "[{v6}]:81"], mode: terminate, service: same, transparent: true}}
  datagrams: {{bind: "{v4}:82", mode: terminate, protocol: udp, service: udp, transparent: true}}
  few: {{bind: "{v4}:83", mode: terminate, service: same, limits: {{connections: 3, connections_per_client: 2}}}}
  closed: {{bind: "{v4}:84", mode: terminate, service: same, allow: [10.128.0.0/16], deny: [10.128.0.9/32]}}
  crossed: {{bind: "{v4}:85", mode: terminate, service: six}}
  busy: {{bind: "{v4}:86", mode: terminate, service: narrow}}
services:
  same: {{backends: [{four}, {six}]}}
  six: {{backends: [{six}]}}
  udp: {{backends: [{four}]}}
  narrow: {{backends: [{four}], max_connections: 2}}
"""
DIVERT = """
table inet divert {
  chain prerouting {
    type filter hook prerouting priority -150
    socket transparent 1 meta mark set 1 accept
  }
}
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Lab]:
    with lab() as made:
        yield made


@pytest.fixture(scope="module")
def balancer(place: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    one = Balancer(place, tmp_path_factory.mktemp("lbctl"))
    one.nft("-f", "-", stdin=DIVERT)
    for family, route in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        place.shell(BALANCER, "ip", family, "rule", "add", "fwmark", "1", "lookup", "100")
        place.shell(BALANCER, "ip", family, "route", "add", "local", route, "dev", "lo", "table", "100")
    four, six = addresses(9000, "ip", SERVERS[:1])[0], addresses(9000, "ip6", SERVERS[:1])[0]
    one.run(FILE.format(v4=LISTEN["ip"], v6=LISTEN["ip6"], four=four, six=six))
    wait_until(lambda: bool(answered(place)))
    yield one
    one.close()


def answered(place: Lab) -> str:
    try:
        return place.who("tcp", listen(80))[0]
    except OSError:
        return ""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def refused(balancer: Balancer, name: str) -> dict[str, int]:
    return next(each["refused"] for each in balancer.do("status")["listeners"] if each["name"] == name)


@pytest.mark.parametrize(("kind", "port", "seen"), [("tcp", 80, False), ("tcp", 81, True), ("udp", 82, True)])
def test_whom_a_backend_sees(place: Lab, balancer: Balancer, kind: str, port: int, seen: bool) -> None:
    clients = {place.who(kind, listen(port))[1].rpartition(":")[0].strip("[]") for _ in range(2)}
    assert (str(address_of(CLIENT)) in clients) is seen


def test_a_backend_of_ipv6_sees_a_client_of_ipv6(place: Lab, balancer: Balancer) -> None:
    clients = {place.who("tcp", listen(81, "ip6"))[1].rpartition(":")[0].strip("[]") for _ in range(2)}
    assert str(address_of(CLIENT, "ip6")) in clients


def test_clients_of_ipv4_reach_backends_of_ipv6(place: Lab, balancer: Balancer) -> None:
    assert place.who("tcp", listen(85))[0] == SERVERS[0]


def held(place: Lab, port: int, sources: list[int]) -> list[bool]:
    """Whether each of these connections, all open at once, was let in; sources are among the client's many."""
    with contextlib.ExitStack() as stack:
        outcomes = []
        for number in sources:
            try:
                sock = stack.enter_context(place.connect("tcp", listen(port), source=CROWD4[number]))
                outcomes.append(bool(sock.recv(100)))
            except ConnectionResetError:
                outcomes.append(False)
        return outcomes


@pytest.mark.parametrize(
    ("port", "sources", "expected"),
    [
        (83, [1, 1, 1, 2, 3], [True, True, False, True, False]),
        (83, [4, 5, 4], [True, True, True]),
        (84, [1, 9], [True, False]),
        (86, [1, 2, 3], [True, True, False]),
    ],
)
def test_lists_and_limits_hold_over_all_workers(
    place: Lab, balancer: Balancer, port: int, sources: list[int], expected: list[bool]
) -> None:
    before = sum(refused(balancer, {83: "few", 84: "closed", 86: "busy"}[port]).values())
    assert held(place, port, sources) == expected
    after = sum(refused(balancer, {83: "few", 84: "closed", 86: "busy"}[port]).values())
    assert after - before == expected.count(False)
    wait_until(lambda: all(flow["protocol"] == "udp" for flow in balancer.do("flows")))


def test_nobody_left_to_serve_udp(place: Lab, balancer: Balancer) -> None:
    assert place.who("udp", listen(82))[0] == SERVERS[0]
    backend = addresses(9000, "ip", SERVERS[:1])[0].strip('"')
    balancer.do("disable", service="udp", backend=backend)

    def unreachable() -> bool:
        with place.connect("udp", listen(82)) as sock:
            sock.settimeout(0.5)
            sock.send(b"who")
            try:
                sock.recv(100)
            except ConnectionRefusedError:
                return True
            except TimeoutError:
                return False
            return False

    wait_until(unreachable)
    balancer.do("enable", service="udp", backend=backend)
    wait_until(lambda: not unreachable())
    assert place.who("udp", listen(82))[0] == SERVERS[0]


def test_workers_keep_the_one_right_that_transparent_takes(place: Lab, balancer: Balancer) -> None:
    processes = [Path(f"/proc/{pid}") for pid in namespaces.processes(place.namespace(BALANCER))]
    workers = [each for each in processes if b"terminate_worker" in (each / "cmdline").read_bytes()]
    kept = {
        line.split()[1] for each in workers for line in (each / "status").read_text().splitlines() if "CapEff" in line
    }
    assert (len(workers), {int(each, 16) for each in kept}) == (2, {1 << CAP_NET_ADMIN})
