"""From a rule's statements down to register expressions.

The rule: the same expressions in the same registers as nft 1.0.6 makes of the same text (src/netlink_linearize.c), so
that `nft list ruleset` shows what was meant, and a ruleset loaded by `nft -f` equals one programmed by us.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import lru_cache

from lb4.address import Family
from lb4.nft import expression as low
from lb4.nft import types
from lb4.nft.expression import Expression
from lb4.nft.field import Field, Key, Verdict
from lb4.nft.lower_set import anonymous_set, slot_map
from lb4.nft.lowered_set import VERDICT, Data
from lb4.nft.program import LoweredRule
from lb4.nft.ruleset import Rule
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
    NumgenMode,
    Queue,
    RateLimit,
    Reject,
    RejectKind,
    SetMark,
    SlotLookup,
    Snat,
    Statement,
    Translation,
    UpdateSet,
    VerdictMap,
)
from lb4.nft.xtables import nfqueue

# linux/netfilter/nf_tables.h and nf_nat.h
META_MARK, META_IIFNAME, META_NFPROTO, META_L4PROTO = 3, 6, 15, 16
CT_STATE, CT_DIRECTION, CT_STATUS, CT_MARK, CT_PROTO_DST, CT_BYTES = 0, 1, 2, 3, 12, 15
CT_SRC_IP, CT_DST_IP, CT_SRC_IP6, CT_DST_IP6 = 19, 20, 21, 22
FIB_DADDR, FIB_ADDRTYPE = 2, 3
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
EQUAL, NOT_EQUAL, GREATER = 0, 1, 4
TO_NETWORK_ORDER = 1
SNAT, DNAT = 0, 1
RANDOM_FULLY = 1 << 4
TCP_RESET, ICMPX_UNREACHABLE = 1, 2
ICMPX_PORT_UNREACHABLE = 1
QUEUE_BYPASS = 1
NFPROTO = {"ip": 2, "ip6": 10}
TCP = b"\x06"
WORDS_OF_REGISTER = 4

_PAYLOADS = {
    Field.IP_SADDR: (NETWORK_HEADER, 12),
    Field.IP_DADDR: (NETWORK_HEADER, 16),
    Field.IP6_SADDR: (NETWORK_HEADER, 8),
    Field.IP6_DADDR: (NETWORK_HEADER, 24),
    Field.TH_SPORT: (TRANSPORT_HEADER, 0),
    Field.TH_DPORT: (TRANSPORT_HEADER, 2),
}
_METAS = {
    Field.NFPROTO: META_NFPROTO,
    Field.L4PROTO: META_L4PROTO,
    Field.MARK: META_MARK,
    Field.IIFNAME: META_IIFNAME,
}
_FLOW: dict[Field, tuple[int, int | None]] = {
    Field.CT_STATE: (CT_STATE, None),
    Field.CT_STATUS: (CT_STATUS, None),
    Field.CT_DIRECTION: (CT_DIRECTION, None),
    Field.CT_MARK: (CT_MARK, None),
    Field.CT_BYTES: (CT_BYTES, None),
    Field.CT_ORIGINAL_IP_SADDR: (CT_SRC_IP, 0),
    Field.CT_ORIGINAL_IP_DADDR: (CT_DST_IP, 0),
    Field.CT_ORIGINAL_IP6_SADDR: (CT_SRC_IP6, 0),
    Field.CT_ORIGINAL_IP6_DADDR: (CT_DST_IP6, 0),
    Field.CT_ORIGINAL_PROTO_DST: (CT_PROTO_DST, 0),
}
_FAMILIES: dict[Field, Family] = {
    Field.IP_SADDR: "ip",
    Field.IP_DADDR: "ip",
    Field.IP6_SADDR: "ip6",
    Field.IP6_DADDR: "ip6",
}


def lower_rule(rule: Rule, intervals: frozenset[str] = frozenset()) -> LoweredRule:
    """The rule as one program."""
    writing = _Program(intervals)
    for statement in rule.statements:
        writing.statement(statement)
    return LoweredRule(tuple(writing.expressions), rule.comment)


@lru_cache(maxsize=512)
def _load(source: Field, register: int) -> Expression:
    if source in _PAYLOADS:
        base, offset = _PAYLOADS[source]
        return low.Payload(base, offset, source.size, register)
    if source in _METAS:
        return low.Meta(_METAS[source], register)
    if source is Field.FIB_DADDR_TYPE:
        return low.Fib(FIB_DADDR, FIB_ADDRTYPE, register)
    key, direction = _FLOW[source]
    return low.Ct(key, register, direction)


@lru_cache(maxsize=512)
def _loads(key: Key, register: int, interval: bool) -> tuple[Expression, ...]:
    loads: list[Expression] = []
    for source in key:
        loads.append(_load(source, register))
        if interval and types.TYPES[source.type].order != types.NETWORK_ORDER:
            # nft turns what is in host order, even where a single byte makes that a no-op
            loads.append(low.Byteorder(register, register, TO_NETWORK_ORDER, source.size, max(source.size, 2)))
        register += types.padded(source.size) // 4
    return tuple(loads)


def _words(key: Key) -> int:
    return sum(types.padded(source.size) for source in key) // 4


def _next_register(key: Key) -> int:
    """The first word of the 16-byte register after a key that starts at 0."""
    return -(-_words(key) // WORDS_OF_REGISTER) * WORDS_OF_REGISTER


@dataclass(slots=True)
class _Program:
    """The expressions of one rule as they come, and what the packet is known to be so far."""

    intervals: frozenset[str]
    expressions: list[Expression] = field(default_factory=list)
    family: int | None = None
    protocol: bytes | None = None

    def statement(self, statement: Statement) -> None:
        match statement:
            case Match() | HasFlag() | MoreBytes() | IsOneOf() | InSet() | VerdictMap():
                self._match(statement)
            case Dnat() | Snat() | Masquerade():
                self._translate(statement)
            case Verdict():
                self.expressions.append(low.Give(statement))
            case UpdateSet():
                self._update(statement)
            case Reject(kind):
                self._reject(kind)
            case SetMark(mask, xor):
                self._mark(mask, xor)
            case _:
                self.expressions.append(_simple(statement))

    def _load(self, key: Key, register: int = 0, interval: bool = False) -> None:
        for source in key:
            family = _FAMILIES.get(source)
            if family is not None and self.family != NFPROTO[family]:
                self._compare(_load(Field.NFPROTO, 0), bytes((NFPROTO[family],)))
                self.family = NFPROTO[family]
        self.expressions.extend(_loads(key, register, interval))

    def _compare(self, load: Expression, value: bytes, op: int = EQUAL) -> None:
        self.expressions += (load, low.Cmp(0, op, value))

    def _match(self, statement: Match | HasFlag | MoreBytes | IsOneOf | InSet | VerdictMap) -> None:
        match statement:
            case Match(source, value, negated):
                self._load((source,))
                self.expressions.append(low.Cmp(0, NOT_EQUAL if negated else EQUAL, value.ljust(source.size, b"\0")))
                self._learn(source, value, negated)
            case HasFlag(source, flags):
                self._load((source,))
                self.expressions += _has_flag(flags)
            case MoreBytes(over):
                self._load((Field.CT_BYTES,))
                self.expressions.append(low.Byteorder(0, 0, TO_NETWORK_ORDER, 8, 8))
                self.expressions.append(low.Cmp(0, GREATER, over.to_bytes(8, "big")))
            case IsOneOf(source, values):
                self._load((source,))
                elements: dict[bytes, Data] = dict.fromkeys(values)
                self.expressions.append(low.Lookup(0, anonymous_set((source.type,), (), elements)))
            case InSet(key, name, negated):
                self._load(key, interval=name in self.intervals)
                self.expressions.append(low.Lookup(0, name, None, negated))
            case VerdictMap(key, name):
                self._load(key, interval=name in self.intervals)
                self.expressions.append(low.Lookup(0, name, VERDICT))

    def _learn(self, source: Field, value: bytes, negated: bool) -> None:
        if source is Field.NFPROTO and not negated:
            self.family = value[0]
        if source is Field.L4PROTO and not negated:
            self.protocol = value

    def _update(self, statement: UpdateSet) -> None:
        self._load(statement.key)
        register = None
        if statement.data is not None:
            register = _next_register(statement.key)
            self._load(statement.data, register)
        expression = None if statement.expression is None else _gauge(statement.expression)
        timeout = (statement.timeout or 0) * 1000
        self.expressions.append(low.Dynset(statement.set, int(statement.refresh), 0, register, timeout, expression))

    def _reject(self, kind: RejectKind) -> None:
        if kind is RejectKind.PORT_UNREACHABLE:
            self.expressions.append(low.Refuse(ICMPX_UNREACHABLE, ICMPX_PORT_UNREACHABLE))
            return
        if self.protocol != TCP:
            self._compare(_load(Field.L4PROTO, 0), TCP)
            self.protocol = TCP
        self.expressions.append(low.Refuse(TCP_RESET))

    def _mark(self, mask: int, xor: int) -> None:
        if mask == 0:
            self.expressions.append(low.Immediate(0, _word(xor)))
        else:
            self.expressions += (low.Meta(META_MARK, 0), low.Bitwise(0, 0, _word(mask), _word(xor)))
        self.expressions.append(low.MetaSet(META_MARK, 0))

    def _translate(self, statement: Dnat | Snat | Masquerade) -> None:
        match statement:
            case Masquerade(fully_random):
                self.expressions.append(low.Masq(RANDOM_FULLY * fully_random))
            case Snat(family, to, fully_random):
                self._destination(to, family)
                self.expressions.append(low.Nat(SNAT, NFPROTO[family], 0, None, RANDOM_FULLY * fully_random))
            case Dnat(family, to, with_port):
                port = self._destination(to, family)
                self.expressions.append(low.Nat(DNAT, NFPROTO[family], 0, port if with_port else None))

    def _destination(self, to: Translation, family: Family) -> int:
        """Puts an address at register 0; where its port is, if it has one."""
        behind = 1 if family == "ip" else WORDS_OF_REGISTER
        match to:
            case Constant(value):
                self.expressions.append(low.Immediate(0, value[0]))
                self.expressions += [low.Immediate(WORDS_OF_REGISTER, port) for port in value[1:]]
                return WORDS_OF_REGISTER
            case MapLookup(selector, name):
                if isinstance(selector, tuple):
                    self._load(selector, interval=name in self.intervals)
                else:
                    self._number(selector)
                self.expressions.append(low.Lookup(0, name, 0))
            case SlotLookup(number, slots):
                self._number(number)
                self.expressions.append(low.Lookup(0, slot_map(slots, family), 0))
        return behind

    def _number(self, number: Numgen | Jhash) -> None:
        match number:
            case Numgen(mode, modulus, offset):
                self.expressions.append(low.Number(0, int(mode is NumgenMode.RANDOM), modulus, offset))
            case Jhash(key, modulus, seed, offset):
                self._load(key, WORDS_OF_REGISTER)
                size = key[0].size if len(key) == 1 else 4 * _words(key)
                self.expressions.append(low.Hash(WORDS_OF_REGISTER, size, 0, modulus, seed, offset))


def _simple(statement: Counter | ConnectionCount | RateLimit | Notrack | Queue) -> Expression:
    match statement:
        case Counter():
            return low.Count()
        case ConnectionCount() | RateLimit():
            return _gauge(statement)
        case Notrack():
            return low.Untrack()
        case Queue(first, last, bypass, xtables):
            total = last - first + 1
            return nfqueue(first, total, bypass) if xtables else low.QueueTo(first, total, QUEUE_BYPASS * bypass)


def _gauge(expression: ConnectionCount | RateLimit) -> low.Connlimit | low.Limit:
    match expression:
        case ConnectionCount(over):
            return low.Connlimit(over, inverted=True)
        case RateLimit(count, per, burst):
            return low.Limit(count, per, burst, inverted=True)


@lru_cache(maxsize=64)
def _has_flag(flags: int) -> tuple[Expression, ...]:
    zero = _word(0)
    return low.Bitwise(0, 0, _word(flags), zero), low.Cmp(0, NOT_EQUAL, zero)


def _word(value: int) -> bytes:
    return value.to_bytes(4, sys.byteorder)
