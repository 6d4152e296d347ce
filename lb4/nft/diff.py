"""What turns the table the kernel has into the wanted one: the least that does it, as a Transaction.

The rule: pure; what is equal is not touched, so that counters, handles and the state of number generators live on.
Order of sets, chains and elements does not matter, order of rules does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lb4.nft import types
from lb4.nft.expression import Dynset, Give, Lookup
from lb4.nft.field import Verdict
from lb4.nft.lowered_set import Data, LoweredSet, SetType
from lb4.nft.program import LoweredChain, LoweredRule, LoweredTable
from lb4.nft.transaction import (
    Action,
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    AddTable,
    Change,
    FlushChain,
    Kind,
    NamedChange,
    RemoveChain,
    RemoveElements,
    RemoveRule,
    RemoveSet,
    RemoveTable,
    Transaction,
)

__all__ = ["NamedChange", "Transaction", "diff"]

LISTED_MAX = 8
"""How many elements of a set are named one by one."""


def diff(current: LoweredTable | None, wanted: LoweredTable | None) -> Transaction:
    """The changes from current to wanted; None means: no table."""
    if wanted is None:
        return _removal(current)
    before = current or LoweredTable(name=wanted.name, family=wanted.family)
    plan = _Plan(before, wanted)
    changes: list[Change] = []
    if current is None or current.flags != wanted.flags:
        changes.append(AddTable())
    changes += plan.changes()
    summary = (NamedChange("add", "table", wanted.name), *plan.summary()) if current is None else tuple(plan.summary())
    if changes and not summary:
        summary = (NamedChange("change", "table", wanted.name),)
    return Transaction(tuple(changes), summary, wanted.name, wanted.family)


def _removal(current: LoweredTable | None) -> Transaction:
    if current is None:
        return Transaction()
    return Transaction((RemoveTable(),), (NamedChange("remove", "table", current.name),), current.name, current.family)


@dataclass(frozen=True, slots=True)
class _Rules:
    """The changed stretch of a chain: old rules start…old_end give way to new rules start…new_end."""

    start: int
    old_end: int
    new_end: int


class _Plan:
    """Both tables, and what of them has to be made anew because the kernel cannot change it in place."""

    def __init__(self, before: LoweredTable, after: LoweredTable) -> None:
        self.before = before
        self.after = after
        self.new_sets = _anew(before.sets, after.sets, lambda old, new: old.type == new.type)
        self.new_chains = _anew(before.chains, after.chains, _same_head)
        self.gone_sets = (before.sets.keys() - after.sets.keys()) | (self.new_sets & before.sets.keys())
        self.gone_chains = (before.chains.keys() - after.chains.keys()) | (self.new_chains & before.chains.keys())
        self.rules = {name: stretch for name, stretch in self._stretches() if stretch is not None}

    def _stretches(self) -> Iterator[tuple[str, _Rules | None]]:
        """What changes of the chains that stay; a rule that names something made anew counts as changed."""
        torn = bool(self.gone_sets or self.gone_chains)
        for name, after in self.after.chains.items():
            before = self.before.chains.get(name)
            if before is not None and name not in self.new_chains and (torn or before is not after):
                yield name, self._stretch(before.rules, after.rules)

    def _stretch(self, old: tuple[LoweredRule, ...], new: tuple[LoweredRule, ...]) -> _Rules | None:
        if old == new and not any(self._is_torn(rule) for rule in old):
            return None
        start, shorter = 0, min(len(old), len(new))
        while start < shorter and self._stays(old[start], new[start]):
            start += 1
        tail = 0
        while tail < shorter - start and self._stays(old[-1 - tail], new[-1 - tail]):
            tail += 1
        return _Rules(start, len(old) - tail, len(new) - tail)

    def _stays(self, old: LoweredRule, new: LoweredRule) -> bool:
        return old == new and not self._is_torn(old)

    def _is_torn(self, rule: LoweredRule) -> bool:
        if not (self.gone_sets or self.gone_chains):
            return False
        for expression in rule.program:
            if isinstance(expression, Lookup | Dynset) and expression.set in self.gone_sets:
                return True
            if isinstance(expression, Give) and expression.verdict.chain in self.gone_chains:
                return True
        return False

    # ---- the order the kernel takes: first what refers goes, then what is referred to, then the reverse

    def changes(self) -> Iterator[Change]:
        """All changes."""
        added, removed = self._elements()
        yield from (RemoveElements(self.before.sets[name], keys) for name, keys in removed)
        yield from self._removed_rules()
        yield from (FlushChain(name) for name in sorted(self.gone_chains) if self.before.chains[name].rules)
        yield from (RemoveElements(each, tuple(each.elements)) for each in self._leading_away())
        yield from (RemoveChain(name) for name in sorted(self.gone_chains))
        yield from (RemoveSet(name) for name in sorted(self.gone_sets))
        yield from (AddSet(self.after.sets[name]) for name in self.after.sets if name in self.new_sets)
        whole, hollow = self._new_chains()
        yield from (change for chain in whole for change in _whole(chain))
        yield from (AddChain(chain) for chain in hollow)
        yield from (AddElements(self.after.sets[name], elements) for name, elements in added)
        yield from (change for chain in hollow for change in _rules_of(chain))
        yield from self._added_rules()

    def _new_chains(self) -> tuple[list[LoweredChain], list[LoweredChain]]:
        """Those that lead to no other chain, and those that may.

        The first come whole and early: to bind an anonymous set the kernel walks all that the batch has so far.
        """
        new = [chain for name, chain in self.after.chains.items() if name in self.new_chains]
        whole = [chain for chain in new if not _leads_on(chain)]
        return whole, [chain for chain in new if _leads_on(chain)]

    def _leading_away(self) -> Iterator[LoweredSet]:
        """Verdict maps that go: their elements hold chains until the maps are gone in the next generation."""
        for name in sorted(self.gone_sets):
            each = self.before.sets[name]
            if any(isinstance(data, Verdict) for data in each.elements.values()):
                yield each

    def _removed_rules(self) -> Iterator[RemoveRule]:
        for name, stretch in self.rules.items():
            old = self.before.chains[name].rules
            for index in range(stretch.old_end - 1, stretch.start - 1, -1):
                yield RemoveRule(name, index, old[index].handle)

    def _added_rules(self) -> Iterator[AddRule]:
        for name, chain in self.after.chains.items():
            if name in self.rules:
                yield from self._added_between(name, chain, self.rules[name])

    def _added_between(self, name: str, chain: LoweredChain, stretch: _Rules) -> Iterator[AddRule]:
        old = self.before.chains[name].rules
        before = old[stretch.old_end].handle if stretch.old_end < len(old) else 0
        for index in range(stretch.start, stretch.new_end):
            yield AddRule(name, chain.rules[index], index, before)

    def _elements(self) -> tuple[list[tuple[str, tuple[tuple[bytes, Data], ...]]], list[tuple[str, tuple[bytes, ...]]]]:
        """By set, the elements that come and the keys that go; an element whose data differs does both."""
        added, removed = [], []
        for name, wanted in self.after.sets.items():
            old = self._old_elements(name)
            if not self.gone_chains and old == wanted.elements:
                continue
            come = tuple((key, data) for key, data in wanted.elements.items() if self._differs(old, key, data))
            go = tuple(key for key, data in old.items() if self._differs(wanted.elements, key, data))
            added += [(name, come)] if come else []
            removed += [(name, go)] if go else []
        return added, removed

    def _old_elements(self, name: str) -> Mapping[bytes, Data]:
        return {} if name in self.new_sets else self.before.sets[name].elements

    def _differs(self, others: Mapping[bytes, Data], key: bytes, data: Data) -> bool:
        """Whether the others lack just this element; one that leads to a chain made anew is another."""
        if key not in others or others[key] != data:
            return True
        return isinstance(data, Verdict) and data.chain in self.gone_chains

    # ---- for people

    def summary(self) -> Iterator[NamedChange]:
        """One line for each object that comes, goes or differs."""
        yield from _named("set", self.before.sets, self.after.sets, self.new_sets)
        yield from _named("chain", self.before.chains, self.after.chains, self.new_chains)
        for name in self.rules:
            yield NamedChange("change", "chain", name)
        yield from self._element_lines()

    def _element_lines(self) -> Iterator[NamedChange]:
        added, removed = self._elements()
        come, go = dict(added), dict(removed)
        for name in dict.fromkeys((*come, *go)):
            if name not in self.new_sets:
                keys = {key for key, _ in come.get(name, ())}
                gone, kind = set(go.get(name, ())), self.after.sets[name].type
                yield from _listed("add", name, kind, keys - gone)
                yield from _listed("change", name, kind, keys & gone)
                yield from _listed("remove", name, kind, gone - keys)


def _leads_on(chain: LoweredChain) -> bool:
    return any(isinstance(part, Give) and part.verdict.chain for rule in chain.rules for part in rule.program)


def _whole(chain: LoweredChain) -> Iterator[Change]:
    yield AddChain(chain)
    yield from _rules_of(chain)


def _rules_of(chain: LoweredChain) -> Iterator[Change]:
    return (AddRule(chain.name, rule, index) for index, rule in enumerate(chain.rules))


def _listed(action: Action, name: str, kind: SetType, keys: set[bytes]) -> Iterator[NamedChange]:
    """A few elements by their keys, many by their number."""
    if len(keys) > LISTED_MAX:
        yield NamedChange(action, "element", f"{name} ({len(keys)} elements)")
        return
    for key in sorted(keys):
        yield NamedChange(action, "element", f"{name} {{ {_key(kind, key)} }}")


def _key(kind: SetType, key: bytes) -> str:
    if not key:
        return "*"
    low, high = key[: kind.key_length], key[kind.key_length :]
    if high in (b"", low):
        return types.write(low, kind.key_type)
    return f"{types.write(low, kind.key_type)} - {types.write(high, kind.key_type)}"


def _named(kind: Kind, before: Iterable[str], after: Iterable[str], anew: set[str]) -> Iterator[NamedChange]:
    old, new = set(before), set(after)
    for name in sorted(old - new):
        yield NamedChange("remove", kind, name)
    for name in sorted(anew):
        yield NamedChange("change" if name in old else "add", kind, name)


def _anew(before, after, same) -> set[str]:  # type: ignore[no-untyped-def]
    """The names that have to be made: they are not there, or not what they should be."""
    return {name for name, wanted in after.items() if name not in before or not same(before[name], wanted)}


def _same_head(old: LoweredChain, new: LoweredChain) -> bool:
    return old.base == new.base and old.policy == new.policy
