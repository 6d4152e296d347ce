"""The compiled ruleset: what holds for any balancer."""

from __future__ import annotations

import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from lb4.address import Bind, Endpoint, parse_ip
from lb4.compile.table import compile_table
from lb4.explain.packet import FORWARD, REJECT, Packet, explain
from lb4.model import Backend, Balancer, Listener, Mode, Protocol, Scheduler, SchedulerKind, Service
from lb4.nft.field import Verdict, VerdictKind
from lb4.nft.ruleset import Element, Table

IPS = [parse_ip(text) for text in ("10.0.1.2", "10.0.2.2", "10.0.3.2", "2001:db8:1::2", "2001:db8:2::2")]
TARGETS = [parse_ip(text) for text in ("192.0.2.10", "2001:db8::10")]
BACKENDS = st.builds(Backend, st.builds(Endpoint, st.sampled_from(IPS), st.just(8080)), st.integers(0, 5))
SERVICES = st.builds(
    Service,
    st.just(""),
    st.lists(BACKENDS, max_size=5, unique_by=lambda backend: backend.endpoint).map(tuple),
    scheduler=st.builds(Scheduler, st.sampled_from(SchedulerKind)),
)


@st.composite
def balancers(draw: st.DrawFn) -> Balancer:
    """Listeners on ports of their own, each before a service of its own or the one before it."""
    services = {f"s{n}": draw(SERVICES) for n in range(draw(st.integers(1, 4)))}
    named = {name: Service(name, each.backends, scheduler=each.scheduler) for name, each in services.items()}
    listeners = {}
    for n in range(draw(st.integers(1, 5))):
        binds = tuple(Bind(ip, 100 + 10 * n, 100 + 10 * n + draw(st.sampled_from([0, 5]))) for ip in TARGETS)
        mode = draw(st.sampled_from([Mode.NAT, Mode.GATEWAY]))
        service = draw(st.sampled_from(sorted(named)))
        listeners[f"l{n}"] = Listener(f"l{n}", binds, draw(st.sampled_from(Protocol)), mode, service)
    return Balancer(listeners, named)


@settings(max_examples=25, deadline=None)
@given(balancers(), st.randoms())
def test_the_order_of_the_file_does_not_matter(balancer: Balancer, random: st.DataObject) -> None:
    listeners, services = list(balancer.listeners.items()), list(balancer.services.items())
    random.shuffle(listeners)  # type: ignore[attr-defined]
    random.shuffle(services)  # type: ignore[attr-defined]
    assert compile_table(Balancer(dict(listeners), dict(services))) == compile_table(balancer)


def number(element: Element) -> int:
    return int.from_bytes(element.low[0], sys.byteorder)


@settings(max_examples=25, deadline=None)
@given(balancers())
def test_every_name_that_is_used_is_there(balancer: Balancer) -> None:
    table: Table = compile_table(balancer)
    verdicts = [element.data for each in table.sets.values() for element in each.elements]
    for verdict in verdicts:
        if isinstance(verdict, Verdict) and verdict.kind is VerdictKind.GOTO:
            assert verdict.chain in table.chains
    for each in table.sets.values():
        keys = [element.low if each.key != ("integer",) else number(element) for element in each.elements]
        assert keys == sorted(set(keys))


@settings(max_examples=25, deadline=None)
@given(balancers(), st.integers(0, 255))
def test_a_packet_goes_to_a_usable_backend_or_is_refused(balancer: Balancer, last: int) -> None:
    table = compile_table(balancer)
    for listener in balancer.listeners.values():
        for bind in listener.binds:
            client = parse_ip(f"10.0.0.{last}") if bind.ip.version == 4 else parse_ip(f"2001:db8::{last:x}")
            found = explain(
                balancer, table, Packet(listener.protocol, Endpoint(client, 40000), Endpoint(bind.ip, bind.last))
            )
            eligible = {str(backend) for backend in balancer.services[listener.service].eligible(bind.family)}
            assert found.verdict == (FORWARD if eligible else REJECT)
            assert {candidate.backend for candidate in found.candidates} <= eligible
            if found.candidates:
                assert abs(sum(candidate.probability for candidate in found.candidates) - 1) < 1e-9
