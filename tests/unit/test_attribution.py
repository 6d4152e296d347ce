"""Whose flows are whose, and which of them an apply ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lb4.address import parse_bind, parse_endpoint
from lb4.conntrack.attribution import Attribution, is_open, is_stale
from lb4.flow import Flow
from lb4.model import AdminState, Backend, Balancer, Health, Listener, Mode, Protocol, Service

A, B, C = "10.0.1.2:80", "10.0.2.2:80", "10.0.3.2:80"


def service(*backends: str, **of: Backend) -> Service:
    made = [of.get(text, Backend(parse_endpoint(text))) for text in backends]
    return Service("web", tuple(made))


def balancer(web: Service, *binds: str, protocol: Protocol = Protocol.TCP, mode: Mode = Mode.NAT) -> Balancer:
    at = tuple(parse_bind(text) for text in binds or ("192.0.2.10:80",))
    return Balancer({"web": Listener("web", at, protocol, mode, "web")}, {"web": web})


def flow(backend: str, target: str = "192.0.2.10:80", protocol: Protocol = Protocol.TCP, state: str = "") -> Flow:
    client, source = parse_endpoint("10.0.0.2:41000"), parse_endpoint("10.0.1.1:41000")
    return Flow(protocol, client, parse_endpoint(target), source, parse_endpoint(backend), state)


def changed(text: str, **fields: object) -> Backend:
    return replace(Backend(parse_endpoint(text)), **fields)  # type: ignore[arg-type]


def one(backend: Backend) -> Service:
    return Service("web", (backend, Backend(parse_endpoint(B))))


@pytest.mark.parametrize(
    ("binds", "backends", "seen", "owner"),
    [
        (["192.0.2.10:80"], [A], flow(A), A),
        (["192.0.2.10:80"], [A], flow(B), None),
        (["[2001:db8::10]:80"], ["[2001:db8:1::2]:80"], flow("[2001:db8:1::2]:80", "[2001:db8::10]:80"), "the backend"),
        (["192.0.2.10:30000-30099"], ["10.0.1.2"], flow("10.0.1.2:30050", "192.0.2.10:30050"), "10.0.1.2"),
        (["192.0.2.10:80"], ["10.0.1.2"], flow(A), "10.0.1.2"),
        (["192.0.2.10:80"], ["10.0.1.2"], flow("10.0.1.2:81"), None),
        (["0.0.0.0:80"], [A], flow(A), A),
    ],
)
def test_backend_of_a_flow(binds: list[str], backends: list[str], seen: Flow, owner: str | None) -> None:
    found = Attribution(balancer(service(*backends), *binds)).owner(seen)
    assert found is not None
    assert found.listener.name == "web"
    assert (found.backend is None) == (owner is None)


@pytest.mark.parametrize(
    ("seen", "mode"),
    [
        (flow(A, "192.0.2.10:81"), Mode.NAT),
        (flow(A, "192.0.2.11:80"), Mode.NAT),
        (flow(A, protocol=Protocol.UDP), Mode.NAT),
        (flow("192.0.2.10:80"), Mode.NAT),
        (flow(A), Mode.HTTP),
        (flow(A), Mode.PACKET),
    ],
)
def test_flows_of_nobody(seen: Flow, mode: Mode) -> None:
    assert Attribution(balancer(service(A), mode=mode)).owner(seen) is None


TCP, UDP = Protocol.TCP, Protocol.UDP


@pytest.mark.parametrize(
    ("before", "after", "protocol", "at", "ends"),
    [
        pytest.param(service(A, B), service(A, B), TCP, A, False, id="stays"),
        pytest.param(service(A, B), service(B), TCP, A, True, id="removed"),
        pytest.param(service(A, B), service(B), UDP, A, True, id="removed, UDP"),
        pytest.param(one(changed(A, admin=AdminState.DRAINING)), service(B), TCP, A, False, id="drained and removed"),
        pytest.param(one(changed(A, admin=AdminState.DRAINING)), service(B), UDP, A, True, id="drained, removed, UDP"),
        pytest.param(one(changed(A, weight=0)), service(B), TCP, A, False, id="weight 0 and removed"),
        pytest.param(service(A, B), one(changed(A, admin=AdminState.DRAINING)), TCP, A, False, id="draining"),
        pytest.param(service(A, B), one(changed(A, admin=AdminState.DISABLED)), TCP, A, True, id="disabled"),
        pytest.param(service(A, B), one(changed(A, health=Health.DOWN)), TCP, A, False, id="down"),
        pytest.param(service(A, B), one(changed(A, health=Health.DOWN)), UDP, A, True, id="down, UDP"),
        pytest.param(service(A), service(B), TCP, C, False, id="TCP to a stranger"),
        pytest.param(service(A), service(B), UDP, C, True, id="UDP to a stranger"),
    ],
)
def test_flows_that_end(before: Service, after: Service, protocol: Protocol, at: str, ends: bool) -> None:
    old, new = (Attribution(balancer(each, protocol=protocol)) for each in (before, after))
    assert is_stale(flow(at, protocol=protocol), old, new) is ends


def test_flows_of_a_removed_listener_end_and_others_do_not() -> None:
    old, new = Attribution(balancer(service(A))), Attribution(Balancer({}, {}))
    assert is_stale(flow(A), old, new)
    assert not is_stale(flow(A, "192.0.2.99:80"), old, new)


def test_all_down_under_panic_keeps_udp() -> None:
    down = replace(service(A), backends=(changed(A, health=Health.DOWN),), panic_threshold=0.5)
    old, new = Attribution(balancer(service(A), protocol=UDP)), Attribution(balancer(down, protocol=UDP))
    assert not is_stale(flow(A, protocol=UDP), old, new)


@pytest.mark.parametrize(
    ("state", "active"), [("ESTABLISHED", True), ("SYN_SENT", True), ("TIME_WAIT", False), ("", True)]
)
def test_active(state: str, active: bool) -> None:
    assert is_open(flow(A, state=state)) is active
