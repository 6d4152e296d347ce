"""What would happen to the first packet of a new flow, and why.

The rule: for `nat` and `gateway` the answer comes from walking the ruleset value that was compiled, hook by hook in
the kernel's order, so it cannot differ from what is in force; for the modes of a process, from the same values that
the process decides by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lb4.address import Endpoint
from lb4.compile.entrance import entrances
from lb4.compile.names import endpoint_of
from lb4.compile.translation import affinity_name
from lb4.explain.walk import Learnt, Walk
from lb4.model import KERNEL_MODES, Backend, Balancer, Listener, Mode, Protocol, SchedulerKind, Service
from lb4.nft.field import VerdictKind
from lb4.nft.ruleset import Hook, Table
from lb4.schedulers.jhash import scaled
from lb4.schedulers.slots import BY_CLIENT, seed, slots

FORWARD, REJECT, DROP, PASS, RESPOND = "forward", "reject", "drop", "pass", "respond"
WAY = (Hook.PREROUTING, Hook.POSTROUTING)
"""The hooks of a forwarded packet that lbctl has chains at; a local client's packet meets the same rules at output."""


@dataclass(frozen=True, slots=True)
class Packet:
    """The packet asked about: both ends have a port, and are of one family."""

    protocol: Protocol
    client: Endpoint
    target: Endpoint


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backend, as the file has it, and how probable it is, from 0 to 1."""

    backend: str
    probability: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict and the way to it; backend only where there is no other candidate."""

    verdict: str
    listener: str | None
    service: str | None
    backend: str | None
    candidates: tuple[Candidate, ...]
    steps: tuple[str, ...]


def explain(balancer: Balancer, table: Table, packet: Packet, learnt: Learnt | None = None) -> Explanation:
    """What happens to a packet that begins a flow.

    table: what compile_table made of the balancer. learnt: by affinity map, the clients it holds now.
    """
    listener = listener_at(balancer, packet.protocol, packet.target)
    if listener is None:
        nothing = f"no listener has {packet.protocol} {packet.target}: not lbctl's packet"
        return Explanation(PASS, None, None, None, (), (nothing,))
    if listener.mode in KERNEL_MODES:
        walk = Walk(table, packet.protocol, packet.client, packet.target, learnt or {})
        return _in_kernel(balancer, listener, walk)
    return _in_process(listener, balancer.services.get(listener.service), packet.client)


def listener_at(balancer: Balancer, protocol: Protocol, target: Endpoint) -> Listener | None:
    """The listener that clients of this target arrive at; one with the address itself before one with all of them."""
    found = [
        (bind.is_wildcard, name)
        for name, listener in balancer.listeners.items()
        for bind in listener.binds
        if listener.protocol is protocol
        and (bind.ip == target.ip or (bind.is_wildcard and bind.family == target.family))
        and bind.first <= (target.port or 0) <= bind.last
    ]
    return balancer.listeners[min(found)[1]] if found else None


def affinities_at(balancer: Balancer, packet: Packet) -> tuple[str, ...]:
    """The names of the dynamic maps that may know the packet's client."""
    listener = listener_at(balancer, packet.protocol, packet.target)
    if listener is None or listener.mode not in KERNEL_MODES:
        return ()
    service = balancer.services[listener.service]
    return tuple(
        affinity_name(entrance)
        for entrance in entrances(listener, service)
        if service.affinity is not None and entrance.family == packet.target.family and entrance.eligible
    )


def _in_kernel(balancer: Balancer, listener: Listener, walk: Walk) -> Explanation:
    service = balancer.services[listener.service]
    verdict = _walked(walk)
    ends = {endpoint_of(value): share for value, share in walk.shares.items()} if verdict == FORWARD else {}
    candidates = tuple(Candidate(_written(service, end), share) for end, share in ends.items())
    if verdict == FORWARD and not walk.sourced:
        walk.words.lines.append(f"source {walk.client} stays: the backend sees the client")
    steps = [f"listener {listener.name} has mode {listener.mode}: the kernel serves it"]
    if verdict == FORWARD:
        steps.append(f"service {service.name} picks by {service.scheduler}")
    return _explanation(verdict, listener, candidates, [*steps, *walk.words.lines])


def _walked(walk: Walk) -> str:
    chains = [
        (WAY.index(c.base.hook), c.base.priority, c.name)
        for c in walk.table.chains.values()
        if c.base and c.base.hook in WAY
    ]
    for _, _, name in sorted(chains):
        if walk.through(name) is VerdictKind.DROP:
            return REJECT if walk.rejected else DROP
    return FORWARD if walk.shares else PASS


def _written(service: Service, end: Endpoint) -> str:
    """A translation's end as the file writes that backend: without a port where it has none of its own."""
    endpoints = {backend.endpoint for backend in service.backends}
    return str(end if end in endpoints or Endpoint(end.ip) not in endpoints else Endpoint(end.ip))


def _explanation(verdict: str, listener: Listener, candidates: tuple[Candidate, ...], steps: list[str]) -> Explanation:
    backend = candidates[0].backend if len(candidates) == 1 else None
    return Explanation(verdict, listener.name, listener.service or None, backend, candidates, tuple(steps))


def _in_process(listener: Listener, service: Service | None, client: Endpoint) -> Explanation:
    """`packet`, `terminate` and `http`: the process asks the filters, then the scheduler."""
    steps = [f"listener {listener.name} has mode {listener.mode}: `lbctl run` serves it"]
    if refused := _filtered(listener, client):
        return _explanation(DROP, listener, (), [*steps, refused])
    if listener.mode is Mode.HTTP or service is None:
        steps.append("the request decides what happens: `lbctl explain http METHOD URL` says what")
        return _explanation(RESPOND, listener, (), steps)
    eligible = service.eligible(client.family if listener.mode is Mode.PACKET else None)
    if not eligible:
        return _explanation(REJECT, listener, (), [*steps, f"service {service.name} has no backend left"])
    shares = _picked(service, eligible, client)
    steps.append(f"service {service.name} picks by {service.scheduler}")
    if service.affinity is not None:
        steps.append("a client that the process remembers keeps its backend instead")
    return _explanation(FORWARD, listener, tuple(Candidate(name, share) for name, share in shares.items()), steps)


def _filtered(listener: Listener, client: Endpoint) -> str:
    """Why the listener's prefixes refuse the client, empty where they do not."""
    if any(client.ip in prefix for prefix in listener.deny):
        return f"client {client.ip} is denied"
    if listener.allow and not any(client.ip in prefix for prefix in listener.allow):
        return f"client {client.ip} is not among those allowed"
    return ""


def _picked(service: Service, eligible: tuple[Backend, ...], client: Endpoint) -> Mapping[str, float]:
    kind: SchedulerKind = service.scheduler.kind
    turns = slots(kind, eligible)
    if kind in BY_CLIENT:
        return {str(turns[scaled(client.ip.packed, seed(service), len(turns))]): 1.0}
    shares: dict[str, float] = {}
    for backend in turns:
        shares[str(backend)] = shares.get(str(backend), 0.0) + 1 / len(turns)
    return shares
