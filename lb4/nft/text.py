"""A ruleset as an nft script: for people, for golden tests and for hosts without lbctl.

The rule: `nft -f` of the text makes the very ruleset that the netlink messages make. One exception, where the text
is the nearest nft can read: a queue by the xtables target is written as nft's own `queue`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, summarize_address_range

from lb4.nft.field import Field, Key, Value, Verdict
from lb4.nft.ruleset import Chain, Element, Rule, Set, Table
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
from lb4.nft.types import TYPES

UNITS = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}
DYNAMIC_SIZE = 65535
READ_AS = {"ipv4_addr": "ip daddr", "ipv6_addr": "ip6 daddr", "inet_service": "th dport"}
"""nft reads a key of plain integers by `typeof` alone, and then the data too."""


def write_table(table: Table) -> str:
    """The whole table as a script that `nft -f` reads. It adds to a table of that name which is there already."""
    blocks = [_set(each) for each in table.sets.values()] + [_chain(each) for each in table.chains.values()]
    body = "\n\n".join(blocks)
    return f"table {table.family} {table.name} {{\n{body}\n}}\n"


def write_rule(rule: Rule) -> str:
    """One rule as it stands in a chain."""
    words = [write_statement(each) for each in rule.statements]
    if rule.comment:
        words.append(f'comment "{rule.comment}"')
    return " ".join(words)


# ---- sets


def _set(value: Set) -> str:
    kind = "set" if value.data is None else "map"
    lines = [f"\t{kind} {value.name} {{", f"\t\t{'typeof' if value.key == ('integer',) else 'type'} {_types(value)}"]
    lines += [f"\t\t{line}" for line in _properties(value)]
    if value.elements:
        elements = ",\n\t\t\t".join(_element(each, value) for each in value.elements)
        lines.append(f"\t\telements = {{\n\t\t\t{elements}\n\t\t}}")
    return "\n".join([*lines, "\t}"])


def _types(value: Set) -> str:
    key = " . ".join(value.key)
    if value.data is None:
        return key
    if value.key == ("integer",):
        return f"numgen inc mod 2 : {' . '.join(READ_AS[name] for name in value.data)}"
    return f"{key} : {value.data if isinstance(value.data, str) else ' . '.join(value.data)}"


def _properties(value: Set) -> Iterator[str]:
    flags = [
        word
        for word, holds in (
            ("dynamic", value.dynamic),
            ("interval", value.interval),
            ("timeout", value.timeout is not None),
        )
        if holds
    ]
    if flags:
        yield f"flags {','.join(flags)}"
    if value.timeout is not None:
        yield f"timeout {value.timeout}s"
    if value.size is not None or value.dynamic:
        yield f"size {value.size or DYNAMIC_SIZE}"
    if value.counter:
        yield "counter"


def _element(element: Element, value: Set) -> str:
    key = " . ".join(_bounds(element, place, name) for place, name in enumerate(value.key))
    if isinstance(element.data, Verdict):
        return f"{key} : {write_statement(element.data)}"
    if element.data is None or value.data is None or isinstance(value.data, str):
        return key
    return f"{key} : {' . '.join(TYPES[name].write(part) for name, part in zip(value.data, element.data, strict=True))}"


def _bounds(element: Element, place: int, name: str) -> str:
    low = element.low[place]
    high = low if element.high is None else element.high[place]
    if low == high:
        return TYPES[name].write(low)
    if name in ("ipv4_addr", "ipv6_addr"):
        return _network(low, high)
    return f"{TYPES[name].write(low)}-{TYPES[name].write(high)}"


def _network(low: bytes, high: bytes) -> str:
    if len(low) == 4:
        v4 = list(summarize_address_range(IPv4Address(low), IPv4Address(high)))
        return str(v4[0]) if len(v4) == 1 else f"{IPv4Address(low)}-{IPv4Address(high)}"
    v6 = list(summarize_address_range(IPv6Address(low), IPv6Address(high)))
    return str(v6[0]) if len(v6) == 1 else f"{IPv6Address(low)}-{IPv6Address(high)}"


# ---- chains and rules


def _chain(chain: Chain) -> str:
    lines = [f"\tchain {chain.name} {{"]
    if chain.base is not None:
        base = chain.base
        lines.append(f"\t\ttype {base.type} hook {base.hook} priority {base.priority}; policy accept;")
    lines += [f"\t\t{write_rule(rule)}" for rule in chain.rules]
    return "\n".join([*lines, "\t}"])


def write_key(key: Key) -> str:
    """A key's fields as nft concatenates them."""
    return " . ".join(field.text for field in key)


def write_statement(statement: Statement) -> str:
    """One statement in nft's words."""
    match statement:
        case Match() | HasFlag() | MoreBytes() | IsOneOf() | InSet():
            return _matching(statement)
        case UpdateSet():
            return _update(statement)
        case Dnat() | Snat() | Masquerade():
            return _translating(statement)
        case VerdictMap(key, name):
            return f"{write_key(key)} vmap @{name}"
        case Counter():
            return "counter"
        case ConnectionCount(over):
            return f"ct count over {over}"
        case RateLimit(count, per, burst):
            return f"limit rate over {count}/{UNITS[per]} burst {burst} packets"
        case Reject(kind):
            return f"reject with {kind}"
        case SetMark(mask, xor):
            return f"meta mark set {_mark(mask, xor)}"
        case Notrack():
            return "notrack"
        case Queue(first, last, bypass):
            numbers = str(first) if first == last else f"{first}-{last}"
            return f"queue {'flags bypass ' if bypass else ''}to {numbers}"
        case Verdict(kind, chain):
            return f"{kind} {chain}" if chain else kind.value


def _matching(statement: Match | HasFlag | MoreBytes | IsOneOf | InSet) -> str:
    match statement:
        case Match(field, value, negated):
            return f"{field.text} {'!= ' if negated else ''}{_field_value(field, value)}"
        case HasFlag(field, flags):
            return f"{field.text} {_field_value(field, flags.to_bytes(4, sys.byteorder))}"
        case MoreBytes(over):
            return f"{Field.CT_BYTES.text} > {over}"
        case IsOneOf(field, values):
            return f"{field.text} {{ {', '.join(_field_value(field, value) for value in values)} }}"
        case InSet(key, name, negated):
            return f"{write_key(key)} {'!= ' if negated else ''}@{name}"


def _field_value(field: Field, value: bytes) -> str:
    return TYPES[field.type].write(value)


def _update(statement: UpdateSet) -> str:
    words = [write_key(statement.key)]
    if statement.timeout is not None:
        words.append(f"timeout {statement.timeout}s")
    if statement.expression is not None:
        words.append(write_statement(statement.expression))
    if statement.data is not None:
        words.append(f": {write_key(statement.data)}")
    return f"{'update' if statement.refresh else 'add'} @{statement.set} {{ {' '.join(words)} }}"


def _mark(mask: int, xor: int) -> str:
    if mask == 0:
        return f"0x{xor:08x}"
    masked = f"meta mark & 0x{mask:08x}"
    return f"{masked} ^ 0x{xor:08x}" if xor else masked


def _translating(statement: Dnat | Snat | Masquerade) -> str:
    match statement:
        case Dnat(family, to, _):
            return f"dnat {family} to {_destination(to)}"
        case Snat(family, to, fully_random):
            return f"snat {family} to {_destination(to)}{' fully-random' if fully_random else ''}"
        case Masquerade(fully_random):
            return f"masquerade{' fully-random' if fully_random else ''}"


def _destination(to: Translation) -> str:
    match to:
        case Constant(value):
            return _constant(value)
        case MapLookup(selector, name):
            written = write_key(selector) if isinstance(selector, tuple) else write_number(selector)
            return f"{written} map @{name}"
        case SlotLookup(number, slots):
            pairs = ", ".join(f"{slot} : {_slot(value)}" for slot, value in enumerate(slots))
            return f"{write_number(number)} map {{ {pairs} }}"


def write_number(number: Numgen | Jhash) -> str:
    """What picks a slot."""
    match number:
        case Numgen(mode, modulus, offset):
            written = f"numgen {mode} mod {modulus}"
        case Jhash(key, modulus, seed, offset):
            written = f"jhash {write_key(key)} mod {modulus} seed 0x{seed:x}"
    return f"{written} offset {offset}" if offset else written


def _slot(value: Value) -> str:
    address = str(ip_address(value[0]))
    return address if len(value) == 1 else f"{address} . {int.from_bytes(value[1], 'big')}"


def _constant(value: Value) -> str:
    address = str(ip_address(value[0]))
    if len(value) == 1:
        return address
    port = int.from_bytes(value[1], "big")
    return f"[{address}]:{port}" if len(value[0]) == 16 else f"{address}:{port}"
