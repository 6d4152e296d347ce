"""What was dumped of a table, put together to a LoweredTable.

The rule: pure; who dumps is elsewhere. Messages of other tables are passed over by the table's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from lb4.netlink.attributes import number, parse, text_of
from lb4.nft import message as m
from lb4.nft.decode_expression import decode_expression
from lb4.nft.decode_set import DumpedSet, counter_of, digest_in, walk
from lb4.nft.expression import Expression, Lookup
from lb4.nft.lowered_set import ANONYMOUS, AnonymousSet, Data, LoweredSet, digest_of
from lb4.nft.program import LoweredChain, LoweredRule, LoweredTable
from lb4.nft.ruleset import Base, Hook

HOOKS = {value: Hook(name) for name, value in m.HOOKS.items()}
POLICIES = {value: name for name, value in m.POLICIES.items()}

ElementsOf = Callable[[DumpedSet], Mapping[bytes, Data]]
"""Reads a set's elements from wherever they are."""


def decode_table(
    name: str, flags: int, chains: Iterable[bytes], rules: Iterable[bytes], sets: Iterable[DumpedSet], read: ElementsOf
) -> LoweredTable:
    """The table of bodies that were dumped."""
    dumped = {each.name: each for each in sets}
    anonymous = _Anonymous(dumped, read)
    programs: dict[str, list[LoweredRule]] = {}
    for body in rules:
        chain, rule = _rule(body, anonymous)
        programs.setdefault(chain, []).append(rule)
    return LoweredTable(
        sets={each.name: _named(each, read) for each in dumped.values() if not each.type.flags & ANONYMOUS},
        chains={chain.name: chain for chain in _chains(name, chains, programs)},
        name=name,
        flags=flags,
    )


def _named(each: DumpedSet, read: ElementsOf) -> LoweredSet:
    return LoweredSet(each.name, each.type, {} if each.type.is_dynamic else read(each))


def _chains(table: str, bodies: Iterable[bytes], programs: Mapping[str, list[LoweredRule]]) -> Iterator[LoweredChain]:
    for body in bodies:
        a = parse(body, 4)
        if text_of(a[m.CHAIN_TABLE]) == table:
            name = text_of(a[m.CHAIN_NAME])
            yield LoweredChain(name, tuple(programs.get(name, ())), _base(a), POLICIES[_policy(a)])


def _policy(a: Mapping[int, bytes]) -> int:
    return number(a[m.CHAIN_POLICY]) if m.CHAIN_POLICY in a else m.POLICIES["accept"]


def _base(a: Mapping[int, bytes]) -> Base | None:
    if m.CHAIN_HOOK not in a:
        return None
    hook = parse(a[m.CHAIN_HOOK])
    priority = int.from_bytes(hook[m.HOOK_PRIORITY], "big", signed=True)
    return Base(text_of(a[m.CHAIN_TYPE]), HOOKS[number(hook[m.HOOK_NUMBER])], priority)


class _Anonymous:
    """The anonymous sets by the names that the kernel gave them."""

    def __init__(self, dumped: Mapping[str, DumpedSet], read: ElementsOf) -> None:
        self._dumped = dumped
        self._read = read

    def resolved(self, expression: Expression) -> Expression:
        """A look-up in an anonymous set with the set itself in place of its name."""
        if not isinstance(expression, Lookup) or not isinstance(expression.set, str):
            return expression
        found = self._dumped.get(expression.set)
        if found is None or not found.type.flags & ANONYMOUS:
            return expression
        return Lookup(expression.source, self._value(found), expression.register, expression.inverted)

    def _value(self, found: DumpedSet) -> AnonymousSet:
        digest = digest_in(found.userdata)
        if digest is not None:
            return AnonymousSet(found.type, digest)
        elements = self._read(found)
        return AnonymousSet(found.type, digest_of(elements), elements)


def _rule(body: bytes, anonymous: _Anonymous) -> tuple[str, LoweredRule]:
    a = parse(body, 4)
    listed = a.get(m.RULE_EXPRESSIONS, b"")
    program = tuple(
        [anonymous.resolved(decode_expression(listed[start:end])) for _, start, end in walk(listed, 0, len(listed))]
    )
    return text_of(a[m.RULE_CHAIN]), LoweredRule(program, _comment(a), number(a[m.RULE_HANDLE]))


def _comment(a: Mapping[int, bytes]) -> str:
    userdata = a.get(m.RULE_USERDATA, b"")
    if len(userdata) < 2 or userdata[0] != m.USERDATA_COMMENT:
        return ""
    return text_of(userdata[2 : 2 + userdata[1]])


def rule_counters(body: bytes) -> tuple[str, tuple[int, int]]:
    """A rule's chain, and packets and bytes of its first counter, zeros where it has none."""
    a = parse(body, 4)
    listed = a.get(m.RULE_EXPRESSIONS, b"")
    for _, start, end in walk(listed, 0, len(listed)):
        counted = counter_of(listed[start:end])
        if counted is not None:
            return text_of(a[m.RULE_CHAIN]), counted
    return text_of(a[m.RULE_CHAIN]), (0, 0)
