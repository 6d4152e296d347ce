"""The chain that refuses new flows of a listener: prefixes, limits, and a service with no backend left.

The rule: who is not wanted is dropped, who is too many is told at once, and each refusal is counted in its own rule,
whose comment says why. A listener that refuses nobody has no such chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lb4.address import Family
from lb4.compile.draft import Draft
from lb4.compile.names import ADDRESS_TYPE, NFPROTO, SADDR, SUFFIX
from lb4.model import IPNetwork, Limits, Listener, Protocol, Rate, Service
from lb4.nft.field import CtStatus, Field, Verdict, VerdictKind
from lb4.nft.ruleset import Chain, Element, Rule, Set
from lb4.nft.statement import (
    ConnectionCount,
    Counter,
    HasFlag,
    InSet,
    Match,
    Queue,
    RateLimit,
    Reject,
    RejectKind,
    Statement,
    UpdateSet,
)

CLIENTS = 65536
"""So many clients a limit per client tells apart at a time; those beyond are let in."""

UNITS = (1, 60, 3600, 86400)
"""Seconds that nft can name a rate by."""

KNOWN = Rule((HasFlag(Field.CT_STATUS, CtStatus.CONFIRMED), Verdict(VerdictKind.RETURN)))
"""Every datagram of a flow is `ct state new` until the other side answers, and not all do (syslog, statsd)."""


@dataclass(frozen=True, slots=True)
class Assistance:
    """Where a hook sees the first packet of each flow: queues first to last; xtables: see lb4.nft.ruleset.Queue."""

    first: int
    last: int
    xtables: bool = False


def filter_chain(draft: Draft, listener: Listener, service: Service, assistance: Assistance | None) -> str | None:
    """Adds the chain and its sets. Returns its name, or None where it would have no rule."""
    empty = [family for family in listener.families if not service.eligible(family)]
    rules = [
        *_denied(draft, listener),
        *_not_allowed(draft, listener),
        *_limited_clients(draft, listener),
        *_limited(listener),
        *_no_backend(listener, empty),
    ]
    if assistance is not None and len(empty) < len(listener.families):
        rules.append(Rule((Queue(assistance.first, assistance.last, bypass=True, xtables=assistance.xtables),)))
    if not rules:
        return None
    if listener.protocol is Protocol.UDP:
        rules.insert(0, KNOWN)
    name = f"filter-{listener.name}"
    draft.chains[name] = Chain(name, tuple(rules))
    return name


def _denied(draft: Draft, listener: Listener) -> Iterator[Rule]:
    for family in listener.families:
        if prefixes := _of_family(listener.deny, family):
            name = _prefix_set(draft, "deny", listener, family, prefixes)
            yield Rule((InSet((SADDR[family],), name), *_dropped()), "denied")


def _not_allowed(draft: Draft, listener: Listener) -> Iterator[Rule]:
    for family in listener.families if listener.allow else ():
        if prefixes := _of_family(listener.allow, family):
            name = _prefix_set(draft, "allow", listener, family, prefixes)
            yield Rule((InSet((SADDR[family],), name, negated=True), *_dropped()), "not allowed")
        else:
            yield Rule((*_only(listener, (family,)), *_dropped()), "not allowed")


def _limited_clients(draft: Draft, listener: Listener) -> Iterator[Rule]:
    """Before the limits of all together, so that what one client has too much of is not taken from the others."""
    limits = listener.limits
    for family in listener.families:
        if limits.connections_per_client is not None:
            count = ConnectionCount(limits.connections_per_client)
            yield _per_client(draft, f"clients-{count.over}-{listener.name}", listener, family, count)
        if limits.new_connections_per_client is not None:
            asked = limits.new_connections_per_client
            yield _per_client(draft, f"rates-{asked}-{listener.name}", listener, family, rate_limit(asked))


def _limited(listener: Listener) -> Iterator[Rule]:
    limits: Limits = listener.limits
    if limits.connections is not None:
        yield Rule((ConnectionCount(limits.connections), *_refused(listener)), "too many connections")
    if limits.new_connections is not None:
        yield Rule((rate_limit(limits.new_connections), *_refused(listener)), "too many new connections")


def _no_backend(listener: Listener, empty: Sequence[Family]) -> Iterator[Rule]:
    if empty:
        yield Rule((*_only(listener, empty), *_refused(listener)), "no backend")


def _only(listener: Listener, families: Sequence[Family]) -> tuple[Statement, ...]:
    """What keeps a rule to some of the listener's families: nothing where it has no others."""
    return () if len(families) == len(listener.families) else (Match(Field.NFPROTO, NFPROTO[families[0]]),)


def _dropped() -> tuple[Statement, ...]:
    return (Counter(), Verdict(VerdictKind.DROP))


def _refused(listener: Listener) -> tuple[Statement, ...]:
    reset = listener.protocol is Protocol.TCP
    return (Counter(), Reject(RejectKind.TCP_RESET if reset else RejectKind.PORT_UNREACHABLE))


def _per_client(
    draft: Draft, prefix: str, listener: Listener, family: Family, limit: ConnectionCount | RateLimit
) -> Rule:
    """Counts of live connections go with the last of them; rates are forgotten when their bucket is full again.

    A client's element keeps the limit that it was made with, so another limit has another set.
    """
    name = f"{prefix}-{SUFFIX[family]}"
    rate = isinstance(limit, RateLimit)
    timeout = max(60, limit.per) if isinstance(limit, RateLimit) else None
    draft.sets[name] = Set(name, (ADDRESS_TYPE[family],), dynamic=True, timeout=timeout, size=CLIENTS)
    update = UpdateSet(name, (SADDR[family],), refresh=rate, expression=limit)
    what = "too many new connections of one client" if rate else "too many connections of one client"
    return Rule((update, *_refused(listener)), what)


def rate_limit(rate: Rate) -> RateLimit:
    """The rate in a unit nft has, with a burst of one unit's worth: never more than the count in any one moment."""
    per = next((unit for unit in UNITS if unit >= rate.per and rate.count * unit % rate.per == 0), UNITS[-1])
    count = max(1, rate.count * per // rate.per)
    return RateLimit(count, per, burst=rate.count)


def _of_family(prefixes: Sequence[IPNetwork], family: Family) -> list[IPNetwork]:
    version = 4 if family == "ip" else 6
    return [prefix for prefix in prefixes if prefix.version == version]


def _prefix_set(draft: Draft, kind: str, listener: Listener, family: Family, prefixes: Sequence[IPNetwork]) -> str:
    name = f"{kind}-{listener.name}-{SUFFIX[family]}"
    size = 4 if family == "ip" else 16
    elements = tuple(
        Element((low.to_bytes(size, "big"),), (high.to_bytes(size, "big"),)) for low, high in joined(prefixes)
    )
    draft.sets[name] = Set(name, (ADDRESS_TYPE[family],), interval=True, elements=elements)
    return name


def joined(prefixes: Sequence[IPNetwork]) -> list[tuple[int, int]]:
    """The prefixes as ranges of numbers, both ends included, those that overlap or touch joined to one."""
    ranges: list[tuple[int, int]] = []
    for low, high in sorted((int(p.network_address), int(p.broadcast_address)) for p in prefixes):
        if ranges and low <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(high, ranges[-1][1]))
        else:
            ranges.append((low, high))
    return ranges
