"""What a transaction makes of a table: the reference for what the kernel does with it.

The rule: pure; refuses what the kernel refuses (names that are missing, taken or in use) with the kernel's words, and
then nothing of the transaction is done.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lb4.nft.expression import Dynset, Give, Lookup
from lb4.nft.field import Verdict
from lb4.nft.lowered_set import Data
from lb4.nft.naming import name_of
from lb4.nft.program import LoweredChain, LoweredRule, LoweredTable
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

Reference = tuple[str, str]
"""The kind of an object, `chain` or `set`, and its name."""


class Refused(Exception):
    """A change that cannot be made: which, and the errno the kernel would give."""

    def __init__(self, change: Change, number: int) -> None:
        super().__init__(f"{name_of(change)}: the kernel says {os.strerror(number)!r}; nothing was changed")
        self.change = change
        self.errno = number


def apply(table: LoweredTable | None, transaction: Transaction, handle: int = 0) -> LoweredTable | None:
    """The table afterwards; new rules get handles above handle, 0 for none. Raises Refused."""
    work = _Work(table, transaction, handle)
    for change in transaction.changes:
        work.make(change)
    return work.result()


def references_of_rule(rule: LoweredRule) -> Iterator[Reference]:
    """What a rule refers to by name."""
    for part in rule.program:
        if isinstance(part, Lookup | Dynset) and isinstance(part.set, str):
            yield "set", part.set
        elif isinstance(part, Give) and part.verdict.chain:
            yield "chain", part.verdict.chain


def _references_of_elements(elements: Iterator[Data]) -> Iterator[Reference]:
    return (("chain", data.chain) for data in elements if isinstance(data, Verdict) and data.chain)


@dataclass(slots=True)
class _Head:
    """A table's flags while it exists."""

    flags: int


class _Work:
    """The table while it is changed, and how often each chain and set is referred to."""

    def __init__(self, table: LoweredTable | None, transaction: Transaction, handle: int) -> None:
        self._name, self._family = transaction.table, transaction.family
        self._handle = handle
        self._head = None if table is None else _Head(table.flags)
        self._chains = {} if table is None else dict(table.chains)
        self._rules = {name: list(chain.rules) for name, chain in self._chains.items()}
        self._sets = {} if table is None else dict(table.sets)
        self._elements = {name: dict(each.elements) for name, each in self._sets.items()}
        self._uses: Counter[Reference] = Counter()
        for rules in self._rules.values():
            for rule in rules:
                self._uses.update(references_of_rule(rule))
        for elements in self._elements.values():
            self._uses.update(_references_of_elements(iter(elements.values())))

    def result(self) -> LoweredTable | None:
        """The table as it is now."""
        if self._head is None:
            return None
        return LoweredTable(
            {name: replace(each, elements=self._elements[name]) for name, each in self._sets.items()},
            {name: replace(chain, rules=tuple(self._rules[name])) for name, chain in self._chains.items()},
            self._name,
            self._family,
            self._head.flags,
        )

    def make(self, change: Change) -> None:
        """Makes one change."""
        if self._head is None and not isinstance(change, AddTable):
            raise Refused(change, errno.ENOENT)
        match change:
            case AddTable():
                self._head = _Head(0)
            case RemoveTable():
                self._head = None
                self._chains, self._rules, self._sets, self._elements = {}, {}, {}, {}
                self._uses.clear()
            case AddChain() | RemoveChain() | FlushChain():
                self._chain(change)
            case AddRule() | RemoveRule():
                self._rule(change)
            case AddSet() | RemoveSet():
                self._set(change)
            case AddElements() | RemoveElements():
                self._change_elements(change)

    def _chain(self, change: AddChain | RemoveChain | FlushChain) -> None:
        match change:
            case AddChain(chain):
                self._add_chain(change, chain)
            case FlushChain(name):
                self._need(change, name in self._chains)
                self._flush(name)
            case RemoveChain(name):
                self._need(change, name in self._chains)
                self._flush(name)
                self._need(change, not self._uses["chain", name], errno.EBUSY)
                del self._chains[name], self._rules[name]

    def _add_chain(self, change: Change, chain: LoweredChain) -> None:
        self._need(change, chain.name not in self._chains, errno.EEXIST)
        self._chains[chain.name] = replace(chain, rules=())
        self._rules[chain.name] = []

    def _flush(self, name: str) -> None:
        for rule in self._rules[name]:
            self._uses.subtract(references_of_rule(rule))
        self._rules[name] = []

    def _rule(self, change: AddRule | RemoveRule) -> None:
        self._need(change, change.chain in self._chains)
        rules = self._rules[change.chain]
        match change:
            case AddRule(_, rule, index):
                self._refer(change, references_of_rule(rule))
                self._handle += bool(self._handle)
                rules.insert(index, replace(rule, handle=self._handle))
            case RemoveRule(_, index, handle):
                self._need(change, index < len(rules) and rules[index].handle == handle)
                self._uses.subtract(references_of_rule(rules.pop(index)))

    def _set(self, change: AddSet | RemoveSet) -> None:
        match change:
            case AddSet(each):
                self._need(change, each.name not in self._sets, errno.EEXIST)
                self._sets[each.name] = replace(each, elements={})
                self._elements[each.name] = {}
            case RemoveSet(name):
                self._need(change, name in self._sets)
                self._need(change, not self._uses["set", name], errno.EBUSY)
                self._uses.subtract(_references_of_elements(iter(self._elements.pop(name).values())))
                del self._sets[name]

    def _change_elements(self, change: AddElements | RemoveElements) -> None:
        self._need(change, change.set.name in self._sets)
        have = self._elements[change.set.name]
        match change:
            case AddElements(_, elements):
                self._refer(change, _references_of_elements(data for _, data in elements))
                self._need(change, all(have.get(key, data) == data for key, data in elements), errno.EEXIST)
                have.update(elements)
            case RemoveElements(_, keys):
                self._need(change, all(key in have for key in keys))
                self._uses.subtract(_references_of_elements(iter([have.pop(key) for key in keys])))

    def _refer(self, change: Change, references: Iterator[Reference]) -> None:
        for kind, name in references:
            self._need(change, name in (self._chains if kind == "chain" else self._sets))
            leads_to_hook = kind == "chain" and self._chains[name].base is not None
            self._need(change, not leads_to_hook, errno.EOPNOTSUPP)
            self._uses[kind, name] += 1

    @staticmethod
    def _need(change: Change, holds: bool, number: int = errno.ENOENT) -> None:
        if not holds:
            raise Refused(change, number)
