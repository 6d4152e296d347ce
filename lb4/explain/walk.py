"""A walk of one packet, the first of a new flow, through a ruleset value: what the kernel would do with it.

The rule: every kind of statement is walked here and nothing is known beyond the value, but for what affinities have
learnt. Limits are taken to be kept and where the kernel draws a number, all that it may draw goes on as one.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lb4.address import Endpoint, Family
from lb4.compile.names import DADDR, NFPROTO, PROTOCOL_NUMBER, SADDR, TARGET, endpoint_of
from lb4.compile.slot_map import packed
from lb4.explain.words import Words
from lb4.model import Protocol
from lb4.nft.field import CtState, CtStatus, Field, Key, Value, Verdict, VerdictKind
from lb4.nft.ruleset import Element, Rule, Set, Table
from lb4.nft.statement import (
    ConnectionCount,
    Constant,
    Counter,
    Dnat,
    HasFlag,
    InSet,
    IsOneOf,
    Jhash,
    MapLookup,
    Masquerade,
    Match,
    MoreBytes,
    Notrack,
    Numgen,
    Queue,
    RateLimit,
    Reject,
    SetMark,
    SlotLookup,
    Snat,
    Statement,
    Translation,
    UpdateSet,
    VerdictMap,
)
from lb4.schedulers.jhash import scaled

Learnt = Mapping[str, Mapping[Value, Value]]
"""By name of a dynamic map what it holds now."""

Shares = dict[Value, float]
"""What a packet may be translated to, and how probable each is."""

MATCHES = True
STOPS = False
Step = bool | Verdict
"""How a rule goes on after a statement: to the next one, not at all, or by a verdict."""

TRANSLATED = Verdict(VerdictKind.ACCEPT)
ENDS = frozenset({VerdictKind.ACCEPT, VerdictKind.DROP})


@dataclass(slots=True)
class Walk:
    """The packet on its way.

    shares: its backends, once it was translated; sourced: its source was too; rejected: it was refused with an answer;
    queued: a hook sees it.
    """

    table: Table
    protocol: Protocol
    client: Endpoint
    target: Endpoint
    learnt: Learnt
    words: Words = field(default_factory=Words)
    shares: Shares = field(default_factory=dict)
    rejected: bool = False
    queued: bool = False
    sourced: bool = False
    fields: dict[Field, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """What the packet and its flow look like before anything was done."""
        client, target, family = self.client, self.target, self.client.family
        number, port = PROTOCOL_NUMBER[self.protocol], (target.port or 0).to_bytes(2, "big")
        self.fields = {
            Field.NFPROTO: NFPROTO[family],
            Field.L4PROTO: number,
            SADDR[family]: client.ip.packed,
            DADDR[family]: target.ip.packed,
            TARGET[family]: target.ip.packed,
            Field.TH_SPORT: (client.port or 0).to_bytes(2, "big"),
            Field.TH_DPORT: port,
            Field.CT_ORIGINAL_PROTO_DST: port,
            Field.CT_DIRECTION: b"\0",
        }

    @property
    def family(self) -> Family:
        """The packet's address family."""
        return self.client.family

    def through(self, chain: str) -> VerdictKind | None:
        """What a chain does with the packet: accept, drop, or None where its rules all let it go on."""
        for rule in self.table.chains[chain].rules:
            verdict = self._rule(chain, rule)
            if verdict is None:
                continue
            if verdict.kind in ENDS:
                return verdict.kind
            if verdict.kind in (VerdictKind.GOTO, VerdictKind.RETURN):
                return self.through(verdict.chain) if verdict.chain else None
            if verdict.kind is VerdictKind.JUMP and (end := self.through(verdict.chain)) is not None:
                return end
        return None

    def _rule(self, chain: str, rule: Rule) -> Verdict | None:
        self.words.enter(chain, rule.comment)
        for statement in rule.statements:
            step = self._statement(statement)
            if isinstance(step, Verdict) and step.kind is not VerdictKind.CONTINUE:
                return step
            if step is STOPS:
                return None
        return None

    def _statement(self, statement: Statement) -> Step:
        match statement:
            case Match() | HasFlag() | IsOneOf() | InSet() | MoreBytes():
                return self._matches(statement)
            case Verdict() | VerdictMap() | Reject():
                return self._verdict(statement)
            case Dnat() | Snat() | Masquerade():
                return self._translation(statement)
            case ConnectionCount() | RateLimit():
                return self._limit(statement)
            case UpdateSet():
                return self._update(statement)
            case Queue():
                self.queued = True
                self.words.queue(statement)
                return Verdict(VerdictKind.ACCEPT)
            case Counter() | SetMark() | Notrack():
                return MATCHES

    def _matches(self, statement: Match | HasFlag | IsOneOf | InSet | MoreBytes) -> bool:
        match statement:
            case Match(read, value, negated):
                return read in self.fields and (self.fields[read] == value) is not negated
            case HasFlag(read, flags):
                return bool(self._flags(read) & flags)
            case IsOneOf(read, values):
                return self.fields.get(read) in values
            case InSet(key, name, negated):
                return self._in_set(key, name, negated)
            case MoreBytes():
                return STOPS

    def _flags(self, read: Field) -> int:
        if read is Field.CT_STATE:
            return CtState.NEW
        return CtStatus.DNAT if self.shares else 0

    def _in_set(self, key: Key, name: str, negated: bool) -> bool:
        value = self._read(key)
        if value is None:
            return STOPS
        found = any(True for _ in self._found(self.table.sets[name], value))
        if len(key) == 1:
            self.words.membership(self.client.ip, name, found)
        return found is not negated

    def _read(self, key: Key) -> Value | None:
        """The key's value, None where the packet has no such field."""
        value = tuple(self.fields[read] for read in key if read in self.fields)
        return value if len(value) == len(key) else None

    def _found(self, among: Set, value: Value) -> Iterator[Element]:
        for element in among.elements:
            if element.low == value or (element.high is not None and _within(element.low, value, element.high)):
                yield element

    def _verdict(self, statement: Verdict | VerdictMap | Reject) -> Step:
        match statement:
            case VerdictMap(key, name):
                value = self._read(key)
                found = next(self._found(self.table.sets[name], value), None) if value is not None else None
                if found is None or not isinstance(found.data, Verdict):
                    return MATCHES
                self.words.verdict_map(name, found.data)
                return found.data
            case Reject(kind):
                self.rejected = True
                self.words.reject(kind)
                return Verdict(VerdictKind.DROP)
            case Verdict(kind):
                if kind is VerdictKind.DROP:
                    self.words.drop()
                return statement

    def _limit(self, limit: ConnectionCount | RateLimit) -> bool:
        self.words.limit(limit)
        return STOPS

    def _update(self, update: UpdateSet) -> bool:
        if self._read(update.key) is None:
            return STOPS
        if update.expression is None:
            self.words.learns(update.set, self.table.sets[update.set].timeout)
            return MATCHES
        return self._limit(update.expression)

    def _translation(self, statement: Dnat | Snat | Masquerade) -> Step:
        match statement:
            case Masquerade():
                self.sourced = True
                self.words.masquerade(self.client)
                return TRANSLATED
            case Snat(family, to):
                shares = self._shares(to) if family == self.family else {}
                if shares:
                    self.sourced = True
                    self.words.source(self.client, [endpoint_of(value) for value in shares])
                return TRANSLATED if shares else STOPS
            case Dnat(family, to):
                shares = self._shares(to) if family == self.family else {}
                if shares:
                    self._sent_to(shares)
                return TRANSLATED if shares else STOPS

    def _sent_to(self, shares: Shares) -> None:
        """The packet goes on with one of its destinations: what follows is the same for each."""
        self.shares = shares
        address, *port = max(shares, key=lambda value: shares[value])
        self.fields[DADDR[self.family]] = address
        self.fields[Field.TH_DPORT] = port[0] if port else self.fields[Field.TH_DPORT]
        self.words.destination(self.target, [endpoint_of(value) for value in shares])

    def _shares(self, to: Translation) -> Shares:
        match to:
            case Constant(value):
                return {value: 1.0}
            case MapLookup(Numgen() | Jhash() as number, name):
                return self._drawn(number, self._numbered(name, number))
            case MapLookup(tuple() as selector, name):
                return self._looked_up(selector, name)
            case SlotLookup(number, slots):
                return self._drawn(number, slots)
        raise TypeError(f"no translation: {to}")

    def _numbered(self, name: str, number: Numgen | Jhash) -> list[Value]:
        """The data of the numbers that may be drawn, in their order."""
        found = {element.low[0]: element.data for element in self.table.sets[name].elements}
        wanted = (found[packed(number.offset + slot)] for slot in range(number.modulus))
        return [data for data in wanted if isinstance(data, tuple)]

    def _drawn(self, number: Numgen | Jhash, slots: Sequence[Value]) -> Shares:
        match number:
            case Jhash(key, modulus, seed):
                slot = scaled(b"".join(self._read(key) or ()), seed, modulus)
                self.words.hashed(self.client.ip, slot, modulus)
                return {slots[slot]: 1.0}
            case Numgen(mode, modulus):
                self.words.drawn(mode, modulus)
                return {value: count / modulus for value, count in Tally(slots).items()}

    def _looked_up(self, selector: Key, name: str) -> Shares:
        """What a hook would pick is not known: the rule below, for when it does not answer, shows the shares."""
        if selector == (Field.MARK,):
            self.words.picks(name, self.queued)
            return {}
        value = self._read(selector)
        if value is None:
            return {}
        kept = self.learnt.get(name, {}).get(value)
        self.words.affinity(self.client.ip, name, None if kept is None else endpoint_of(kept))
        return {} if kept is None else {kept: 1.0}


def _within(low: Value, value: Value, high: Value) -> bool:
    """Whether every field is between its bounds, as the kernel compares intervals of concatenations."""
    return all(first <= middle <= last for first, middle, last in zip(low, value, high, strict=True))
