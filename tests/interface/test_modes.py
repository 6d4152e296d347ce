"""Schedulers and affinity in every mode, with more than one worker: the client sees no difference."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from cli.lab.plan import CROWD4, SERVERS
from tests.lab import Balancer, Lab, addresses, lab, listen

MODES = ("nat", "gateway", "packet", "terminate")
SERVICES = ("turns", "weighed", "hashed", "table", "kept", "least")
HEAVY, LIGHT = SERVERS[:2]
PORTS = {(mode, name): 1000 + 10 * m + s for m, mode in enumerate(MODES) for s, name in enumerate(SERVICES)}
SIX = addresses(9000, "ip6", SERVERS[2:])[0]
PACKET_PORT = 30000
"""Backends of mode packet are others: a flow of mode nat may have any port towards one (docs/limits.md)."""


def file() -> str:
    """Each mode with each service, on a port of its own; terminate has backends of both families where it hashes."""
    lines = ["version: 1", "workers: 3", "listeners:"]
    for (mode, name), port in PORTS.items():
        both = mode == "terminate" and name in ("hashed", "table")
        service = f"{name}{'6' * both}{'-packet' * (mode == 'packet')}"
        lines.append(f"  {mode}-{name}: {{bind: '{listen(0)[0]}:{port}', mode: {mode}, service: {service}}}")
    return "\n".join([*lines, "services:", *services(9000, ""), *services(PACKET_PORT, "-packet"), *both_families()])


def services(port: int, suffix: str) -> list[str]:
    """Every service, with backends on this port."""
    first, second = addresses(port, servers_=SERVERS[:2])
    equal = f"backends: [{first}, {second}]"
    return [
        f"  turns{suffix}: {{{equal}}}",
        f"  weighed{suffix}: {{backends: [{{address: {first}, weight: 3}}, {second}]}}",
        f"  hashed{suffix}: {{scheduler: source-hash, {equal}}}",
        f"  table{suffix}: {{scheduler: maglev, {equal}}}",
        f"  kept{suffix}: {{affinity: {{key: client-ip, timeout: 10m}}, {equal}}}",
        f"  least{suffix}: {{scheduler: least-connections, {equal}}}",
    ]


def both_families() -> list[str]:
    """The hashing services with a backend of the other family."""
    first, second = addresses(9000, servers_=SERVERS[:2])
    return [
        f"  hashed6: {{scheduler: source-hash, backends: [{first}, {second}, {SIX}]}}",
        f"  table6: {{scheduler: maglev, backends: [{first}, {second}, {SIX}]}}",
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab() as made:
        balancer = Balancer(made, tmp_path_factory.mktemp("lbctl"))
        balancer.run(file())
        deadline = time.monotonic() + 20
        while " ready " not in (balancer.directory / "run.log").read_text():
            assert time.monotonic() < deadline, (balancer.directory / "run.log").read_text()
            time.sleep(0.1)
        yield made
        balancer.close()


@pytest.mark.parametrize("mode", MODES)
def test_backends_take_turns(place: Lab, mode: str) -> None:
    turns = place.turns("tcp", listen(PORTS[mode, "turns"]), 8)
    assert turns in ([HEAVY, LIGHT] * 4, [LIGHT, HEAVY] * 4)


@pytest.mark.parametrize("mode", MODES)
def test_weights_make_no_bursts(place: Lab, mode: str) -> None:
    turns = place.turns("tcp", listen(PORTS[mode, "weighed"]), 12)
    assert turns == [HEAVY, LIGHT, HEAVY, HEAVY] * 3


@pytest.mark.parametrize("scheduler", ["hashed", "table"])
@pytest.mark.parametrize("mode", MODES)
def test_a_hash_sends_a_client_one_way(place: Lab, mode: str, scheduler: str) -> None:
    where = listen(PORTS[mode, scheduler])
    clients = [set(place.turns("tcp", where, 3, source=CROWD4[number])) for number in range(1, 13)]
    assert all(len(servers) == 1 for servers in clients)
    assert len(set.union(*clients)) > 1


@pytest.mark.parametrize("mode", MODES)
def test_a_client_keeps_its_backend(place: Lab, mode: str) -> None:
    where = listen(PORTS[mode, "kept"])
    rounds = [[place.who("tcp", where, source=CROWD4[number])[0] for number in range(20, 24)] for _ in range(4)]
    assert rounds == [rounds[0]] * 4
    assert set(rounds[0]) == {HEAVY, LIGHT}


@pytest.mark.parametrize("mode", ["nat", "gateway", "terminate"])
def test_open_connections_count(place: Lab, mode: str) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(place.connect("tcp", listen(PORTS[mode, "least"]))) for _ in range(8)]
        first = [sock.recv(200).split()[0].decode() for sock in held]
    assert first.count(HEAVY) == first.count(LIGHT) == 4
