"""Netlink attributes back to sets and their elements.

The rule: what encode writes comes back equal. An interval of a single field comes as two elements and leaves as one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lb4.netlink.attributes import TYPE_MASK, number, pack_header, parse, text_of, unpack_header
from lb4.nft import message as m
from lb4.nft.decode_expression import data_of
from lb4.nft.encode_expression import DATA_VALUE
from lb4.nft.lowered_set import Data, SetType


class DumpedSet(NamedTuple):
    """A set's name and type, and the userdata that was kept with it."""

    name: str
    type: SetType
    userdata: bytes


class DumpedElement(NamedTuple):
    """An element as it was dumped: flags NFT_SET_ELEM_*, counters None where it has none, expires in milliseconds."""

    key: bytes
    key_end: bytes | None
    data: Data
    flags: int
    counter: tuple[int, int] | None
    expires: int | None


def decode_set(body: bytes) -> DumpedSet:
    """A NEWSET message's body, after the netfilter header."""
    a = parse(body, 4)
    description = parse(a.get(m.SET_DESCRIPTION, b""))
    kind = SetType(
        key_type=number(a.get(m.SET_KEY_TYPE, b"")),
        key_length=number(a[m.SET_KEY_LENGTH]),
        flags=number(a.get(m.SET_FLAGS, b"")),
        fields=tuple(_fields(description.get(m.DESCRIPTION_CONCAT, b""))),
        data_type=number(a.get(m.SET_DATA_TYPE, b"")),
        data_length=number(a.get(m.SET_DATA_LENGTH, b"")),
        timeout=number(a.get(m.SET_TIMEOUT, b"")),
        size=number(description.get(m.DESCRIPTION_SIZE, b"")),
        expressions=_expression_names(a),
    )
    return DumpedSet(text_of(a[m.SET_NAME]), kind, a.get(m.SET_USERDATA, b""))


def _fields(payload: bytes) -> Iterator[int]:
    for _, start, end in walk(payload, 0, len(payload)):
        yield number(parse(payload, start, end)[m.FIELD_LENGTH])


def _expression_names(a: dict[int, bytes]) -> tuple[str, ...]:
    one = a.get(m.SET_EXPRESSION)
    return () if one is None else (text_of(parse(one)[m.EXPRESSION_NAME]),)


def walk(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Type, start and end of the payload of each attribute between two offsets."""
    while start < end:
        length, kind = unpack_header(data, start)
        yield kind & TYPE_MASK, start + 4, start + length
        start += (length + 3) & ~3 or 4


def decode_elements(bodies: Iterable[bytes]) -> Iterator[DumpedElement]:
    """The elements in the messages of one set's dump."""
    for body in bodies:
        for kind, start, end in walk(body, 4, len(body)):
            if kind == m.ELEMENTS_LIST:
                for _, first, last in walk(body, start, end):
                    yield _element(parse(body, first, last))


def decode_data(kind: SetType, bodies: Iterable[bytes]) -> dict[bytes, Data]:
    """The elements in the messages of one set's dump by their keys, without what they counted."""
    if kind.is_interval:
        return {key: each.data for key, each in by_key(kind, decode_elements(bodies)).items()}
    found: dict[bytes, Data] = {}
    for body in bodies:
        for about, start, end in walk(body, 4, len(body)):
            if about == m.ELEMENTS_LIST:
                found.update(_plain(kind, body, start, end))
    return found


def _plain(kind: SetType, body: bytes, start: int, end: int) -> Iterator[tuple[bytes, Data]]:
    """Keys and data by their place alone where an element starts as all do: tens of thousands come at each read."""
    value_length = 4 + kind.key_length
    head = pack_header(4 + (value_length + 3 & ~3), m.ELEMENT_KEY) + pack_header(value_length, DATA_VALUE)
    key_end = 12 + kind.key_length
    to_data = key_end + 3 & ~3
    while start < end:
        length = unpack_header(body, start)[0]
        if body[start + 4 : start + 12] != head:
            other = _element(parse(body, start + 4, start + length))
            yield other.key, other.data
        elif kind.data_length:
            at = start + to_data
            yield body[start + 12 : start + key_end], data_of(body[at + 4 : at + unpack_header(body, at)[0]])
        else:
            yield body[start + 12 : start + key_end], None
        start += (length + 3) & ~3 or 4


def _element(a: dict[int, bytes]) -> DumpedElement:
    key_end, data, flags = a.get(m.ELEMENT_KEY_END), a.get(m.ELEMENT_DATA), a.get(m.ELEMENT_FLAGS)
    expiration = a.get(m.ELEMENT_EXPIRATION)
    return DumpedElement(
        # A key is nested in a data attribute: the value follows another header of four bytes.
        _value(a[m.ELEMENT_KEY]) if m.ELEMENT_KEY in a else b"",
        None if key_end is None else _value(key_end),
        None if data is None else data_of(data),
        0 if flags is None else number(flags),
        _counter(a),
        None if expiration is None else number(expiration),
    )


def _value(payload: bytes) -> bytes:
    return payload[4 : unpack_header(payload, 0)[0]]


def _counter(a: dict[int, bytes]) -> tuple[int, int] | None:
    one = a.get(m.ELEMENT_EXPRESSION)
    return None if one is None else counter_of(one)


def counter_of(payload: bytes) -> tuple[int, int] | None:
    """Packets and bytes of a counter expression, None where it is another."""
    a = parse(payload)
    if text_of(a[m.EXPRESSION_NAME]) != "counter":
        return None
    counted = parse(a[m.EXPRESSION_DATA])
    return number(counted[m.COUNTER_PACKETS]), number(counted[m.COUNTER_BYTES])


def by_key(kind: SetType, elements: Iterable[DumpedElement]) -> dict[bytes, DumpedElement]:
    """The elements by their keys, those of interval sets by the low bound followed by the high one."""
    if not kind.is_interval:
        return {each.key: each for each in elements}
    if kind.fields:
        return {each.key + (each.key_end or each.key): each for each in elements}
    return _paired(kind, list(elements))


def _paired(kind: SetType, elements: list[DumpedElement]) -> dict[bytes, DumpedElement]:
    """Starts with the ends that come after them; a start without one goes to the end of the space."""
    ends = sorted(each.key for each in elements if each.flags & m.INTERVAL_END)
    paired: dict[bytes, DumpedElement] = {each.key: each for each in elements if not each.key}
    for each in elements:
        if each.key and not each.flags & m.INTERVAL_END:
            at = bisect_left(ends, each.key + b"\0")
            last = int.from_bytes(ends[at], "big") - 1 if at < len(ends) else (1 << 8 * kind.key_length) - 1
            paired[each.key + last.to_bytes(kind.key_length, "big")] = each
    return paired


def digest_in(userdata: bytes) -> bytes | None:
    """The digest that lbctl keeps with an anonymous set, None where somebody else made it."""
    at = 0
    while at + 2 <= len(userdata):
        about, length = userdata[at], userdata[at + 1]
        if about == m.USERDATA_DIGEST:
            return userdata[at + 2 : at + 2 + length]
        at += 2 + length
    return None
