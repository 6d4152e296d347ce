"""From sets in nft's words down to bytes in the kernel's: named sets and the anonymous ones inside rules.

The rule: types, lengths, flags and sizes are those nft 1.0.6 gives the same set, keys and data as registers hold them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache

from lb4.address import Family
from lb4.nft import types
from lb4.nft.field import Value
from lb4.nft.lowered_set import (
    ANONYMOUS,
    CONCAT,
    CONSTANT,
    EVAL,
    INTERVAL,
    MAP,
    TIMEOUT,
    AnonymousSet,
    Data,
    LoweredSet,
    SetType,
    digest_of,
)
from lb4.nft.ruleset import Element, Set
from lb4.nft.text import DYNAMIC_SIZE


def lower_set(value: Set) -> LoweredSet:
    """A named set with its elements as bytes."""
    elements = {} if value.dynamic else {_element_key(each, value.interval): _datum(each) for each in value.elements}
    return LoweredSet(value.name, _set_type(value), elements)


def _element_key(element: Element, interval: bool) -> bytes:
    if not interval:
        return types.pack(element.low)
    return types.pack(element.low) + types.pack(element.low if element.high is None else element.high)


def _datum(element: Element) -> Data:
    return types.pack(element.data) if isinstance(element.data, tuple) else element.data


def _set_type(value: Set) -> SetType:
    concatenated = len(value.key) > 1
    data_type, data_length = _data_type(value.data)
    flags = (
        INTERVAL * value.interval
        | CONCAT * (value.interval and concatenated)
        | MAP * (value.data is not None)
        | TIMEOUT * (value.timeout is not None)
        | EVAL * value.dynamic
    )
    return SetType(
        key_type=types.number_of(value.key),
        key_length=types.length_of(value.key),
        flags=flags,
        fields=tuple(types.TYPES[name].size for name in value.key) if value.interval and concatenated else (),
        data_type=data_type,
        data_length=data_length,
        timeout=(value.timeout or 0) * 1000,
        size=value.size or (DYNAMIC_SIZE if value.dynamic else 0),
        expressions=("counter",) if value.counter else (),
    )


def _data_type(data: tuple[str, ...] | str | None) -> tuple[int, int]:
    if data is None:
        return 0, 0
    if data == "verdict":
        return types.VERDICT_TYPE, types.VERDICT_LENGTH
    names = (data,) if isinstance(data, str) else data
    return types.number_of(names), types.length_of(names)


@lru_cache(maxsize=4096)
def _anonymous_type(key: tuple[str, ...], data: tuple[str, ...], size: int) -> SetType:
    return SetType(
        key_type=types.number_of(key),
        key_length=types.length_of(key),
        flags=ANONYMOUS | CONSTANT | MAP * bool(data),
        data_type=types.number_of(data),
        data_length=types.length_of(data) if data else 0,
        size=size,
    )


def anonymous_set(key: tuple[str, ...], data: tuple[str, ...], elements: Mapping[bytes, Data]) -> AnonymousSet:
    """A set written into a rule: the types of its key and data, and its elements."""
    return AnonymousSet(_anonymous_type(key, data, len(elements)), digest_of(elements), elements)


@lru_cache(maxsize=1 << 17)
def _slot_key(slot: int) -> bytes:
    return slot.to_bytes(4, sys.byteorder)


def slot_map(slots: Sequence[Value], family: Family) -> AnonymousSet:
    """The map from slot numbers, in host order, to addresses or addresses and ports."""
    address = "ipv4_addr" if family == "ip" else "ipv6_addr"
    data = (address, "inet_service") if len(slots[0]) == 2 else (address,)
    packed: dict[Value, bytes] = {value: types.pack(value) for value in set(slots)}
    return anonymous_set(("integer",), data, {_slot_key(slot): packed[value] for slot, value in enumerate(slots)})
