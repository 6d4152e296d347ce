"""A rule's expressions as netlink attributes.

The rule: one function an expression, attribute numbers from linux/netfilter/nf_tables.h beside each. The same value
gives the same bytes, so they are kept once made: ten thousand rules are mostly the same few expressions.
"""

from __future__ import annotations

from functools import lru_cache

from lb4.netlink.attributes import attribute, nested, string, u8, u16, u32, u64
from lb4.nft.expression import (
    Bitwise,
    Byteorder,
    Cmp,
    Connlimit,
    Count,
    Ct,
    Dynset,
    Expression,
    Fib,
    Give,
    Hash,
    Immediate,
    Limit,
    Lookup,
    Masq,
    Meta,
    MetaSet,
    Nat,
    Number,
    Payload,
    QueueTo,
    Refuse,
    Target,
    Unknown,
    Untrack,
)
from lb4.nft.field import Verdict, VerdictKind
from lb4.nft.lowered_set import VERDICT, AnonymousSet

LIST_ELEMENT = 1
DATA_VALUE, DATA_VERDICT = 1, 2
VERDICT_CODE, VERDICT_CHAIN = 1, 2
LOOKUP_INVERTED = LIMIT_INVERTED = CONNLIMIT_INVERTED = 1
JENKINS = 0

CODES = {
    VerdictKind.DROP: 0,
    VerdictKind.ACCEPT: 1,
    VerdictKind.CONTINUE: 0xFFFFFFFF,
    VerdictKind.JUMP: 0xFFFFFFFD,
    VerdictKind.GOTO: 0xFFFFFFFC,
    VerdictKind.RETURN: 0xFFFFFFFB,
}


def register_number(word: int) -> int:
    """NFT_REG_1…4 where a word starts a 16-byte register, NFT_REG32_00…15 else, NFT_REG_VERDICT for the verdict's."""
    if word == VERDICT:
        return 0
    return 1 + word // 4 if word % 4 == 0 else 8 + word


def reg(kind: int, word: int) -> bytes:
    """A register attribute."""
    return u32(kind, register_number(word))


def value(kind: int, data: bytes) -> bytes:
    """A data attribute that holds bytes."""
    return nested(kind, attribute(DATA_VALUE, data))


def verdict(kind: int, given: Verdict) -> bytes:
    """A data attribute that holds a verdict."""
    inner = u32(VERDICT_CODE, CODES[given.kind])
    if given.chain:
        inner += string(VERDICT_CHAIN, given.chain)
    return nested(kind, nested(DATA_VERDICT, inner))


@lru_cache(maxsize=1 << 16)
def encode_expression(expression: Expression) -> bytes:
    """The expression as an element of a rule's list; not for a Lookup in an anonymous set, see anonymous_lookup."""
    return nested(LIST_ELEMENT, bare(expression))


def bare(expression: Expression) -> bytes:
    """The expression's name and data, without what they are nested in."""
    name, data = name_and_data(expression)
    return string(1, name) + nested(2, data)


@lru_cache(maxsize=256)
def _lookup_end(source: int, register: int | None, inverted: bool) -> bytes:
    data = reg(2, source)
    if register is not None:
        data += reg(3, register)
    return data + u32(5, LOOKUP_INVERTED) if inverted else data


def anonymous_lookup(expression: Lookup, set_id: int) -> bytes:
    """A look-up in an anonymous set of the same batch, told by its id; the name is one that no set has."""
    data = string(1, "") + _lookup_end(expression.source, expression.register, expression.inverted)
    return nested(LIST_ELEMENT, string(1, "lookup") + nested(2, data + u32(4, set_id)))


def name_and_data(expression: Expression) -> tuple[str, bytes]:  # noqa: PLR0912 - one case an expression
    """The kernel's name of the expression and its attributes."""
    match expression:
        case Meta(key, register):
            return "meta", reg(1, register) + u32(2, key)
        case MetaSet(key, register):
            return "meta", u32(2, key) + reg(3, register)
        case Payload(base, offset, length, register):
            return "payload", reg(1, register) + u32(2, base) + u32(3, offset) + u32(4, length)
        case Ct(key, register, direction):
            return "ct", reg(1, register) + u32(2, key) + (b"" if direction is None else u8(3, direction))
        case Fib(flags, result, register):
            return "fib", reg(1, register) + u32(2, result) + u32(3, flags)
        case Cmp(register, op, data):
            return "cmp", reg(1, register) + u32(2, op) + value(3, data)
        case Bitwise(source, register, mask, xor):
            masks = value(4, mask) + value(5, xor)
            return "bitwise", reg(1, source) + reg(2, register) + u32(3, len(mask)) + masks
        case Byteorder(source, register, op, length, size):
            return "byteorder", reg(1, source) + reg(2, register) + u32(3, op) + u32(4, length) + u32(5, size)
        case Number(register, kind, modulus, offset):
            return "numgen", reg(1, register) + u32(2, modulus) + u32(3, kind) + u32(4, offset)
        case Hash(source, length, register, modulus, seed, offset):
            words = reg(1, source) + reg(2, register) + u32(3, length) + u32(4, modulus) + u32(5, seed)
            return "hash", words + u32(6, offset) + u32(7, JENKINS)
        case Immediate(register, data):
            return "immediate", reg(1, register) + value(2, data)
        case Give(given):
            return "immediate", reg(1, VERDICT) + verdict(2, given)
        case Lookup() | Dynset():
            return _with_set(expression)
        case Nat() | Masq() | Refuse():
            return _ending(expression)
        case Count() | Limit() | Connlimit():
            return _stateful(expression)
        case QueueTo(first, total, flags):
            return "queue", u16(1, first) + u16(2, total) + u16(3, flags)
        case Untrack():
            return "notrack", b""
        case Target(name, revision, info):
            return "target", string(1, name) + u32(2, revision) + attribute(3, info)
        case Unknown(name, data):
            return name, data


def _with_set(expression: Lookup | Dynset) -> tuple[str, bytes]:
    if isinstance(expression, Dynset):
        return _dynset(expression)
    if isinstance(expression.set, AnonymousSet):
        raise TypeError("an anonymous set has no name before the kernel gives it one")
    end = _lookup_end(expression.source, expression.register, expression.inverted)
    return "lookup", string(1, expression.set) + end


def _dynset(expression: Dynset) -> tuple[str, bytes]:
    data = string(1, expression.set) + u32(3, expression.op) + reg(4, expression.source)
    if expression.data is not None:
        data += reg(5, expression.data)
    if expression.timeout:
        data += u64(6, expression.timeout)
    if expression.expression is not None:
        data += nested(7, bare(expression.expression))
    return "dynset", data


def _ending(expression: Nat | Masq | Refuse) -> tuple[str, bytes]:
    match expression:
        case Nat(kind, family, address, port, flags):
            data = u32(1, kind) + u32(2, family)
            data += b"" if address is None else reg(3, address)
            data += b"" if port is None else reg(5, port)
            return "nat", data + (u32(7, flags) if flags else b"")
        case Masq(flags):
            return "masq", u32(1, flags) if flags else b""
        case Refuse(kind, code):
            return "reject", u32(1, kind) + u8(2, code)


def _stateful(expression: Count | Limit | Connlimit) -> tuple[str, bytes]:
    match expression:
        case Count():
            return "counter", b""
        case Limit(rate, unit, burst, inverted):
            amounts = u64(1, rate) + u64(2, unit) + u32(3, burst) + u32(4, 0)
            return "limit", amounts + u32(5, LIMIT_INVERTED * inverted)
        case Connlimit(count, inverted):
            return "connlimit", u32(1, count) + u32(2, CONNLIMIT_INVERTED * inverted)
