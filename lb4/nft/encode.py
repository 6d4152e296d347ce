"""A transaction as netlink messages: for each change the messages that make it.

The rule: bytes out, nothing sent; the same change gives the same bytes. Elements are split so that no attribute
passes the 64 KiB that its length can say.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import count
from typing import NamedTuple

from lb4.netlink.attributes import attribute, nested, string, u32, u64
from lb4.netlink.socket import NLM_F_APPEND, NLM_F_CREATE
from lb4.nft import message as m
from lb4.nft import types
from lb4.nft.encode_expression import anonymous_lookup, encode_expression, value, verdict
from lb4.nft.expression import Lookup
from lb4.nft.lowered_set import AnonymousSet, Data, LoweredSet, SetType
from lb4.nft.program import LoweredChain, LoweredRule
from lb4.nft.transaction import (
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    AddTable,
    Change,
    FlushChain,
    RemoveChain,
    RemoveElements,
    RemoveRule,
    RemoveSet,
    RemoveTable,
    Transaction,
)

LIST_MAX = 60_000
"""Bytes of elements in one message."""


class Encoded(NamedTuple):
    """One message of a batch: its kind, its flags, its attributes, and the place of its change in the transaction."""

    kind: int
    flags: int
    body: bytes
    change: int


def encode(transaction: Transaction, generation: int = 0) -> Iterator[Encoded]:
    """The messages of a transaction, in order; generation: the ruleset's that it is made for."""
    table, ids = transaction.table, _Ids(generation)
    for place, change in enumerate(transaction.changes):
        for kind, flags, body in _messages(table, change, ids):
            yield Encoded(kind, flags, body, place)


class _Ids:
    """Ids of a batch's sets, and names for the anonymous ones that no other set has.

    The kernel would find names by itself (`__map%d`), but reads the names of all sets for each; ten thousand sets
    then take seconds. A generation is written once, so it makes a name unique.
    """

    def __init__(self, generation: int) -> None:
        self._prefix = f"__lb{generation}-"
        self._count = count(1)

    def __next__(self) -> int:
        return next(self._count)

    def name(self, number: int) -> str:
        """The name of the anonymous set with this id."""
        return f"{self._prefix}{number}"


Written = tuple[int, int, bytes]


def _messages(table: str, change: Change, ids: _Ids) -> Iterable[Written]:
    match change:
        case AddTable():
            return [(m.NEWTABLE, NLM_F_CREATE, string(m.TABLE_NAME, table) + u32(m.TABLE_FLAGS, 0))]
        case RemoveTable():
            return [(m.DELTABLE, 0, string(m.TABLE_NAME, table))]
        case AddChain(chain):
            return [(m.NEWCHAIN, NLM_F_CREATE, _chain(table, chain))]
        case RemoveChain(name):
            return [(m.DELCHAIN, 0, string(m.CHAIN_TABLE, table) + string(m.CHAIN_NAME, name))]
        case FlushChain(name):
            return [(m.DELRULE, 0, string(m.RULE_TABLE, table) + string(m.RULE_CHAIN, name))]
        case AddRule(chain, rule, _, before):
            return _add_rule(table, chain, rule, before, ids)
        case RemoveRule(chain, _, handle):
            place = string(m.RULE_TABLE, table) + string(m.RULE_CHAIN, chain)
            return [(m.DELRULE, 0, place + u64(m.RULE_HANDLE, handle))]
        case AddSet(each):
            return [(m.NEWSET, NLM_F_CREATE, _set(table, each.name, each.type, next(ids), set_userdata(each.type)))]
        case RemoveSet(name):
            return [(m.DELSET, 0, string(m.SET_TABLE, table) + string(m.SET_NAME, name))]
        case AddElements(each, elements):
            return _elements(m.NEWSETELEM, table, each, elements)
        case RemoveElements(each, keys):
            return _elements(m.DELSETELEM, table, each, ((key, None) for key in keys))


def _chain(table: str, chain: LoweredChain) -> bytes:
    body = string(m.CHAIN_TABLE, table) + string(m.CHAIN_NAME, chain.name)
    if chain.base is None:
        return body
    priority = chain.base.priority & 0xFFFFFFFF
    hook = u32(m.HOOK_NUMBER, m.HOOKS[chain.base.hook]) + u32(m.HOOK_PRIORITY, priority)
    body += nested(m.CHAIN_HOOK, hook) + u32(m.CHAIN_POLICY, m.POLICIES[chain.policy])
    return body + string(m.CHAIN_TYPE, chain.base.type)


# ---- rules


def _add_rule(table: str, chain: str, rule: LoweredRule, before: int, ids: _Ids) -> Iterator[Written]:
    expressions = b""
    for expression in rule.program:
        if isinstance(expression, Lookup) and isinstance(expression.set, AnonymousSet):
            number = next(ids)
            yield from _anonymous(table, expression.set, number, ids.name(number))
            expressions += anonymous_lookup(expression, number)
        else:
            expressions += encode_expression(expression)
    body = string(m.RULE_TABLE, table) + string(m.RULE_CHAIN, chain) + nested(m.RULE_EXPRESSIONS, expressions)
    if before:
        body += u64(m.RULE_POSITION, before)
    if rule.comment:
        text = rule.comment.encode() + b"\0"
        body += attribute(m.RULE_USERDATA, bytes((m.USERDATA_COMMENT, len(text))) + text)
    yield m.NEWRULE, NLM_F_CREATE | (0 if before else NLM_F_APPEND), body


def _anonymous(table: str, each: AnonymousSet, number: int, name: str) -> Iterator[Written]:
    userdata = set_userdata(each.type) + bytes((m.USERDATA_DIGEST, len(each.digest))) + each.digest
    yield m.NEWSET, NLM_F_CREATE, _set(table, name, each.type, number, userdata)
    # Told by its id alone: the kernel finds that at once, and a name only after all older sets'.
    head = string(m.ELEMENTS_TABLE, table) + u32(m.ELEMENTS_SET_ID, number)
    for chunk in _chunks(_element(each.type, key, data) for key, data in each.elements.items()):
        yield m.NEWSETELEM, NLM_F_CREATE, head + nested(m.ELEMENTS_LIST, chunk)


# ---- sets


def _set(table: str, name: str, kind: SetType, number: int, userdata: bytes) -> bytes:
    body = string(m.SET_TABLE, table) + string(m.SET_NAME, name) + u32(m.SET_FLAGS, kind.flags)
    body += u32(m.SET_KEY_TYPE, kind.key_type) + u32(m.SET_KEY_LENGTH, kind.key_length)
    if kind.data_type:
        body += u32(m.SET_DATA_TYPE, kind.data_type) + u32(m.SET_DATA_LENGTH, kind.data_length)
    body += u32(m.SET_ID, number)
    if description := _description(kind):
        body += nested(m.SET_DESCRIPTION, description)
    if kind.timeout:
        body += u64(m.SET_TIMEOUT, kind.timeout)
    for expression in kind.expressions:
        body += nested(m.SET_EXPRESSION, string(m.EXPRESSION_NAME, expression) + nested(m.EXPRESSION_DATA, b""))
    return body + attribute(m.SET_USERDATA, userdata)


def _description(kind: SetType) -> bytes:
    size = u32(m.DESCRIPTION_SIZE, kind.size) if kind.size else b""
    fields = b"".join(nested(m.LIST_ELEMENT, u32(m.FIELD_LENGTH, length)) for length in kind.fields)
    return size + (nested(m.DESCRIPTION_CONCAT, fields) if fields else b"")


def set_userdata(kind: SetType) -> bytes:
    """What nft keeps with a set for its own listing: in which order the bytes of key and data are."""
    userdata = _order(m.USERDATA_KEY_ORDER, kind.key_type)
    if kind.data_type not in (0, types.VERDICT_TYPE):
        userdata += _order(m.USERDATA_DATA_ORDER, kind.data_type)
    return userdata


def _order(about: int, number: int) -> bytes:
    known = types.BY_NUMBER.get(number)
    return bytes((about, 4)) + (known.order if known else 0).to_bytes(4, sys.byteorder)


def _elements(kind: int, table: str, each: LoweredSet, elements: Iterable[tuple[bytes, Data]]) -> Iterator[Written]:
    head = string(m.ELEMENTS_TABLE, table) + string(m.ELEMENTS_SET, each.name)
    flags = NLM_F_CREATE if kind == m.NEWSETELEM else 0
    for chunk in _chunks(_element(each.type, key, data) for key, data in elements):
        yield kind, flags, head + nested(m.ELEMENTS_LIST, chunk)


def _chunks(elements: Iterable[bytes]) -> Iterator[bytes]:
    parts: list[bytes] = []
    size = 0
    for element in elements:
        if size + len(element) > LIST_MAX:
            yield b"".join(parts)
            parts, size = [], 0
        parts.append(element)
        size += len(element)
    if parts:
        yield b"".join(parts)


def _element(kind: SetType, key: bytes, data: Data) -> bytes:
    """One element; an interval of a single field is two: its start and, flagged, what comes after its end.

    One without a key stands for all keys that the set lacks; lbctl makes none, but takes those of others away.
    """
    if not key:
        return nested(m.LIST_ELEMENT, u32(m.ELEMENT_FLAGS, m.CATCHALL) + _data(data))
    if not kind.is_interval:
        return nested(m.LIST_ELEMENT, value(m.ELEMENT_KEY, key) + _data(data))
    low, high = key[: kind.key_length], key[kind.key_length :]
    if kind.fields:
        return nested(m.LIST_ELEMENT, value(m.ELEMENT_KEY, low) + value(m.ELEMENT_KEY_END, high) + _data(data))
    start = nested(m.LIST_ELEMENT, value(m.ELEMENT_KEY, low) + _data(data))
    after = int.from_bytes(high, "big") + 1
    if after >> 8 * len(high):
        return start
    end = value(m.ELEMENT_KEY, after.to_bytes(len(high), "big"))
    return start + nested(m.LIST_ELEMENT, end + u32(m.ELEMENT_FLAGS, m.INTERVAL_END))


def _data(data: Data) -> bytes:
    if data is None:
        return b""
    return value(m.ELEMENT_DATA, data) if isinstance(data, bytes) else verdict(m.ELEMENT_DATA, data)
