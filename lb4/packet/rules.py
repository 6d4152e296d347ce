"""The rules that bring packet mode's packets to its workers' queues, in both directions and with the errors about them.

The rule: a packet is untracked in the very rule that queues it (conntrack would translate it too), both directions of
a flow come to the same worker, and what belongs to no packet listener passes as if nothing were here.

Requests come by the listener's address and port, and go to a worker by stripes of the client's port. Replies come by
the backend's address and port and the balancer's own port, of which every worker has a range. ICMP errors stay tracked
(they may be about a flow of another mode) and come to the first worker, which hands on what it does not know.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from lb4.address import FAMILIES, Bind, Endpoint, Family
from lb4.compile.marks import QUEUE_BASE
from lb4.compile.names import ADDRESS_TYPE, DADDR, PROTOCOL_NUMBER, SADDR, SUFFIX, arriving
from lb4.model import Balancer, Listener, Mode
from lb4.nft.field import CtState, Field, Key, Value, Verdict, VerdictKind
from lb4.nft.ruleset import Base, Chain, Element, Hook, Rule, Set, Table
from lb4.nft.statement import HasFlag, InSet, Match, Notrack, Queue, Statement, VerdictMap
from lb4.packet.ports import PortRange

PRIORITY = -300
"""Before conntrack (-200), after its defragmentation (-400): no fragment ever comes to the queue."""
STRIPE = 64
"""Clients' ports go to the workers by turns, so many at a time."""
LOCAL = (2).to_bytes(4, sys.byteorder)
"""RTN_LOCAL, linux/rtnetlink.h."""

ERRORS: dict[Family, tuple[Element, ...]] = {
    "ip": (
        Element((b"\x01", b"\x03\x00"), (b"\x01", b"\x04\xff")),
        Element((b"\x01", b"\x0b\x00"), (b"\x01", b"\x0c\xff")),
    ),
    "ip6": (Element((b"\x3a", b"\x01\x00"), (b"\x3a", b"\x04\xff")),),
}
"""Type and code, which stand where other protocols have the source port: RFC 792; RFC 4443 section 2.1."""

_REQUESTS, _ERRORS, _WORKERS = "packet-requests", "packet-errors", "packet-workers"


Lingering = tuple[str, Endpoint]
"""A listener, and a backend that its service has no more but whose connections live on."""


@dataclass(frozen=True, slots=True)
class PacketQueues:
    """The workers of packet mode, each with a queue. xtables: see lb4.nft.ruleset.Queue. ports: of all of them."""

    workers: int = 1
    xtables: bool = False
    ports: PortRange = field(default_factory=PortRange)
    lingering: tuple[Lingering, ...] = ()


def with_packet_mode(table: Table, balancer: Balancer, queues: PacketQueues) -> Table:
    """The table with all that packet mode needs; the table itself where no listener has that mode."""
    listeners = [balancer.listeners[n] for n in sorted(balancer.listeners) if balancer.listeners[n].mode is Mode.PACKET]
    if not listeners:
        return table
    sets = {each.name: each for each in _sets(balancer, listeners, queues) if each.elements}
    bases = {name: chain for name, chain in table.chains.items() if chain.base is not None}
    entry = Chain("prerouting-packet", tuple(_entry(sets)), Base("filter", Hook.PREROUTING, PRIORITY))
    chains = {**bases, entry.name: entry, **table.chains, **{chain.name: chain for chain in _chains(queues)}}
    return Table({**table.sets, **sets}, chains, table.name, table.family)


def worker_of(client_port: int, workers: int) -> int:
    """The worker that has a client's flows by its port."""
    return client_port // STRIPE % workers


def _goto(chain: str) -> Verdict:
    return Verdict(VerdictKind.GOTO, chain)


def queue_chain(worker: int) -> str:
    """The chain that hands packets to a worker."""
    return f"packet-queue-{worker}"


# ---- chains


def _entry(sets: dict[str, Set]) -> Iterator[Rule]:
    for family in FAMILIES:
        suffix, local = SUFFIX[family], Match(Field.FIB_DADDR_TYPE, LOCAL)
        for name in (f"packet-listeners{suffix}", f"packet-listener-ranges{suffix}"):
            if name in sets:
                yield Rule((VerdictMap(arriving(family), name),))
        addresses = f"packet-addresses{suffix}"
        if addresses in sets:
            for ours in (local, InSet((DADDR[family],), addresses)):
                yield from _incoming(family, ours, sets)


def _incoming(family: Family, ours: Statement, sets: dict[str, Set]) -> Iterator[Rule]:
    """What comes to an address of the balancer: replies, and errors about either direction."""
    reply: Key = (SADDR[family], Field.L4PROTO, Field.TH_SPORT, Field.TH_DPORT)
    replies, errors = f"packet-replies{SUFFIX[family]}", f"packet-errors{SUFFIX[family]}"
    if replies in sets:
        yield Rule((ours, VerdictMap(reply, replies)))
    yield Rule((ours, InSet((Field.L4PROTO, Field.TH_SPORT), errors), _goto(_ERRORS)))


def _chains(queues: PacketQueues) -> Iterator[Chain]:
    first = QUEUE_BASE + 1
    if queues.workers > 1:
        yield Chain(_REQUESTS, (Rule((VerdictMap((Field.TH_SPORT,), _WORKERS),)),))
    yield Chain(_ERRORS, (Rule((Queue(first, first, bypass=True, xtables=queues.xtables),)),))
    for worker in range(queues.workers):
        queue = Queue(first + worker, first + worker, bypass=False, xtables=queues.xtables)
        yield Chain(queue_chain(worker), (Rule((Notrack(), queue)),))
    never = Rule(
        (HasFlag(Field.CT_STATE, CtState.UNTRACKED), Verdict(VerdictKind.ACCEPT)),
        "never called: its presence makes the kernel put fragments together before the queue",
    )
    yield Chain("packet-defragmentation", (never,))


# ---- sets


def _sets(balancer: Balancer, listeners: list[Listener], queues: PacketQueues) -> Iterator[Set]:
    requests = _goto(_REQUESTS if queues.workers > 1 else queue_chain(0))
    for family in FAMILIES:
        suffix, address = SUFFIX[family], ADDRESS_TYPE[family]
        binds = [(listener, bind) for listener in listeners for bind in listener.binds_of(family)]
        if not binds:
            continue
        key = (address, "inet_proto", "inet_service")
        yield Set(f"packet-listeners{suffix}", key, "verdict", elements=_binds(binds, False, requests))
        yield Set(f"packet-listener-ranges{suffix}", key, "verdict", True, elements=_binds(binds, True, requests))
        own = {bind.ip.packed for _, bind in binds} | _snat(listeners, family)
        yield Set(f"packet-addresses{suffix}", (address,), elements=tuple(Element((ip,)) for ip in sorted(own)))
        replies = _replies(balancer, binds, queues)
        yield Set(f"packet-replies{suffix}", (*key, "inet_service"), "verdict", True, elements=tuple(replies))
        yield Set(f"packet-errors{suffix}", ("inet_proto", "inet_service"), interval=True, elements=ERRORS[family])
    if queues.workers > 1:
        yield Set(_WORKERS, ("inet_service",), "verdict", True, elements=_stripes(queues.workers))


def _snat(listeners: list[Listener], family: Family) -> set[bytes]:
    version = 4 if family == "ip" else 6
    return {ip.packed for listener in listeners for ip in listener.snat if ip.version == version}


def _binds(binds: list[tuple[Listener, Bind]], ranges: bool, verdict: Verdict) -> tuple[Element, ...]:
    elements = []
    for listener, bind in binds:
        if bind.is_range is ranges:
            start: Value = (bind.ip.packed, PROTOCOL_NUMBER[listener.protocol])
            high = (*start, _port(bind.last)) if ranges else None
            elements.append(Element((*start, _port(bind.first)), high, verdict))
    return tuple(sorted(elements, key=lambda element: element.low))


def _replies(balancer: Balancer, binds: list[tuple[Listener, Bind]], queues: PacketQueues) -> Iterator[Element]:
    """From each backend's ports to each worker's."""
    spans: dict[tuple[bytes, bytes], set[tuple[int, int]]] = {}
    for listener, bind in binds:
        ends = [backend.endpoint for backend in balancer.services[listener.service].backends]
        ends += [end for name, end in queues.lingering if name == listener.name]
        for end in ends:
            if end.family == bind.family:
                span = (bind.first, bind.last) if end.port is None else (end.port, end.port)
                spans.setdefault((end.ip.packed, PROTOCOL_NUMBER[listener.protocol]), set()).add(span)
    for (ip, protocol), each in sorted(spans.items()):
        for first, last in joined(each):
            for worker in range(queues.workers):
                ports = queues.ports.part(worker, queues.workers)
                low: Value = (ip, protocol, _port(first), _port(ports.first))
                high: Value = (ip, protocol, _port(last), _port(ports.last))
                yield Element(low, high, _goto(queue_chain(worker)))


def joined(spans: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges, both ends included, joined where they overlap: the kernel refuses overlapping ones."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _stripes(workers: int) -> tuple[Element, ...]:
    return tuple(
        Element((_port(at),), (_port(at + STRIPE - 1),), _goto(queue_chain(worker_of(at, workers))))
        for at in range(0, 65536, STRIPE)
    )


def _port(port: int) -> bytes:
    return port.to_bytes(2, "big")
