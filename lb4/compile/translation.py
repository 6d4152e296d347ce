"""The chains that translate a flow's addresses: destination by the scheduler, source by the mode.

The rule: affinity comes first, then the hook's pick, then the kernel's own; affinity is learnt where the flow leaves,
before its source is rewritten, so that it holds whatever picked the backend.
"""

from __future__ import annotations

from collections.abc import Sequence

from lb4.compile import marks
from lb4.compile.draft import Draft
from lb4.compile.entrance import Entrance
from lb4.compile.names import ADDRESS_TYPE, DADDR, PROTOCOL_NUMBER, SADDR, target_value
from lb4.model import Affinity, Mode, SchedulerKind
from lb4.nft.field import Field, Value
from lb4.nft.ruleset import Chain, Element, Rule, Set
from lb4.nft.statement import (
    Constant,
    Dnat,
    InSet,
    Jhash,
    MapLookup,
    Masquerade,
    Match,
    Numgen,
    NumgenMode,
    SlotLookup,
    Snat,
    Statement,
    Translation,
    UpdateSet,
)
from lb4.schedulers.slots import BY_CLIENT, seed, slots

MASQUERADE = "source-masquerade"
"""The chain of all listeners whose flows leave with the address of the outgoing interface."""

AFFINITY_SIZE = 65536
"""So many clients an affinity remembers; the kernel sets aside 16 bytes for each beforehand."""


def translation_chain(draft: Draft, entrance: Entrance, hook_picks: bool) -> str:
    """Adds the chain that picks an entrance's backend, and its maps. Returns its name."""
    targets: list[Translation] = []
    if entrance.service.affinity is not None:
        draft.sets[affinity_name(entrance)] = _affinity_map(entrance, entrance.service.affinity)
        targets.append(MapLookup((SADDR[entrance.family],), affinity_name(entrance)))
    if hook_picks:
        picks = _picks_map(entrance)
        draft.sets[picks.name] = picks
        targets.append(MapLookup((Field.MARK,), picks.name))
    targets.append(_scheduled(draft, entrance))
    name = f"nat-{entrance.label}"
    draft.chains[name] = Chain(name, tuple(_dnat(entrance, target) for target in targets))
    return name


def source_verdict(draft: Draft, entrance: Entrance) -> str:
    """Adds what is done with an entrance's flows as they leave for their backend. Returns the chain's name."""
    statements = [_learn_affinity(entrance)] if entrance.service.affinity is not None else []
    source = _source(draft, entrance)
    if not statements and source == (Masquerade(),):
        draft.chains[MASQUERADE] = Chain(MASQUERADE, (Rule(source),))
        return MASQUERADE
    name = f"source-{entrance.label}"
    draft.chains[name] = Chain(name, (*(Rule((each,)) for each in statements), Rule(source)))
    return name


def affinity_name(entrance: Entrance) -> str:
    """The map from an entrance's clients to their backends."""
    return f"affinity-{entrance.label}"


def _dnat(entrance: Entrance, to: Translation) -> Rule:
    dnat = Dnat(entrance.family, to, entrance.with_port)
    if not entrance.with_port:
        return Rule((dnat,))
    return Rule((Match(Field.L4PROTO, PROTOCOL_NUMBER[entrance.listener.protocol]), dnat))


def _scheduled(draft: Draft, entrance: Entrance) -> Translation:
    kind = entrance.service.scheduler.kind
    values = [target_value(b.endpoint.ip, b.endpoint.port) for b in slots(kind, entrance.eligible)]
    if len(entrance.eligible) == 1:
        return Constant(values[0])
    name, first = draft.add_slots(entrance.label, entrance.family, entrance.with_port, values)
    if kind in BY_CLIENT:
        number: Numgen | Jhash = Jhash((SADDR[entrance.family],), len(values), seed(entrance.service), first)
    else:
        mode = NumgenMode.RANDOM if kind is SchedulerKind.RANDOM else NumgenMode.INC
        number = Numgen(mode, len(values), first)
    return MapLookup(number, name)


def _target_type(entrance: Entrance) -> tuple[str, ...]:
    address = ADDRESS_TYPE[entrance.family]
    return (address, "inet_service") if entrance.with_port else (address,)


def _affinity_map(entrance: Entrance, affinity: Affinity) -> Set:
    return Set(
        affinity_name(entrance),
        (ADDRESS_TYPE[entrance.family],),
        data=_target_type(entrance),
        dynamic=True,
        timeout=max(1, round(affinity.timeout)),
        size=AFFINITY_SIZE,
    )


def _picks_map(entrance: Entrance) -> Set:
    eligible = {backend.endpoint for backend in entrance.eligible}
    elements = [
        Element((marks.mark_bytes(index),), data=target_value(backend.endpoint.ip, backend.endpoint.port))
        for index, backend in enumerate(entrance.backends)
        if backend.endpoint in eligible
    ]
    name = f"picks-{entrance.label}"
    return Set(name, ("mark",), data=_target_type(entrance), elements=tuple(sorted(elements, key=_low)))


def _low(element: Element) -> Value:
    return element.low


def _learn_affinity(entrance: Entrance) -> Statement:
    client, backend = SADDR[entrance.family], DADDR[entrance.family]
    data = (backend, Field.TH_DPORT) if entrance.with_port else (backend,)
    return UpdateSet(affinity_name(entrance), (client,), data=data)


def _source(draft: Draft, entrance: Entrance) -> tuple[Statement, ...]:
    if entrance.listener.mode is Mode.GATEWAY:
        return (InSet((SADDR[entrance.family],), _hairpin_set(draft, entrance)), Masquerade())
    addresses = [ip for ip in entrance.listener.snat if ip.version == entrance.binds[0].ip.version]
    if not addresses:
        return (Masquerade(),)
    return (Snat(entrance.family, _by_turns([(ip.packed,) for ip in addresses])),)


def _by_turns(values: Sequence[Value]) -> Translation:
    if len(values) == 1:
        return Constant(values[0])
    return SlotLookup(Numgen(NumgenMode.INC, len(values)), tuple(values))


def _hairpin_set(draft: Draft, entrance: Entrance) -> str:
    """Clients that are backends themselves: without a source of ours, a backend would answer past the balancer."""
    name = f"hairpin-{entrance.label}"
    addresses = sorted({backend.endpoint.ip.packed for backend in entrance.backends})
    draft.sets[name] = Set(
        name, (ADDRESS_TYPE[entrance.family],), elements=tuple(Element((address,)) for address in addresses)
    )
    return name
