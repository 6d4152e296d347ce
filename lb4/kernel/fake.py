"""A kernel in memory: keeps what the real one keeps and refuses what the real one refuses.

The rule: the same contract (lb4.kernel.interface.Kernel), the same errors in the same words; no packets pass, so a user
says what elements and counters packets would have left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from lb4.kernel.interface import Count, FeatureMissing, GenerationMoved, KernelError, LiveElement, Snapshot
from lb4.nft import types
from lb4.nft.apply import Refused, apply
from lb4.nft.diff import Transaction
from lb4.nft.features import FEATURES, missing_in
from lb4.nft.field import Value
from lb4.nft.lowered_set import Data, LoweredSet
from lb4.nft.naming import name_of
from lb4.nft.program import LoweredTable


class FakeKernel:
    """Implements interface.Kernel. features: the optional expressions it has, all that lbctl knows by default."""

    def __init__(self, features: Iterable[str] = FEATURES) -> None:
        self._features = frozenset(features)
        self._table: LoweredTable | None = None
        self._generation = 1
        self._handle = 1
        self._live: dict[str, dict[Value, LiveElement]] = {}
        self._rule_counts: dict[int, Count] = {}

    def close(self) -> None:
        """Gives back what a real kernel's socket would be."""

    @property
    def ports(self) -> frozenset[int]:
        """None: it sends no events."""
        return frozenset()

    def read(self) -> Snapshot:
        """The table as it stands."""
        return Snapshot(self._generation, self._table)

    def commit(self, transaction: Transaction, generation: int) -> None:
        """Makes all of the change or nothing. Raises GenerationMoved, FeatureMissing or KernelError."""
        if not transaction:
            return
        if generation != self._generation:
            raise GenerationMoved("somebody else changed the ruleset since it was read")
        for change in transaction.changes:
            if missing := missing_in(change, self._features):
                raise FeatureMissing(f"{name_of(change)}: this kernel lacks {missing}")
        try:
            self._table = apply(self._table, transaction, self._handle)
        except Refused as refused:
            raise KernelError(str(refused)) from None
        self._handle += len(transaction.changes)
        self._generation += 1
        self._forget()

    def _forget(self) -> None:
        """Drops what was counted of sets and elements that are gone."""
        sets = {} if self._table is None else self._table.sets
        for name in list(self._live):
            kept = sets.get(name)
            if kept is None:
                del self._live[name]
            elif not kept.type.is_dynamic:
                held = {low for low, _, _ in (self._bounds(kept, key) for key in kept.elements)}
                self._live[name] = {low: each for low, each in self._live[name].items() if low in held}

    def elements(self, set_name: str) -> tuple[LiveElement, ...]:
        """A set's elements with their counts; empty where there is no such set."""
        if self._table is None or set_name not in self._table.sets:
            return ()
        held, live = self._table.sets[set_name], self._live.get(set_name, {})
        if held.type.is_dynamic:
            return tuple(live.values())
        return tuple(self._with_count(held, key, data, live) for key, data in held.elements.items())

    def _with_count(self, held: LoweredSet, key: bytes, data: Data, live: Mapping[Value, LiveElement]) -> LiveElement:
        low, high, number = self._bounds(held, key)
        value = types.unpack(data, number) if isinstance(data, bytes) else None
        seen = live.get(low)
        return LiveElement(low, high, value, Count() if seen is None else seen.count)

    @staticmethod
    def _bounds(held: LoweredSet, key: bytes) -> tuple[Value, Value | None, int]:
        """Low and high bound of a key, and the type number of the data."""
        size, number = held.type.key_length, held.type.key_type
        high = types.unpack(key[size:], number) if held.type.is_interval else None
        return types.unpack(key[:size], number), high, held.type.data_type

    def delete_elements(self, set_name: str, keys: Iterable[Value]) -> None:
        """Removes elements of a dynamic set; one that is gone already is no error."""
        live = self._live.get(set_name, {})
        for key in keys:
            live.pop(key, None)

    def rule_counts(self) -> dict[str, tuple[Count, ...]]:
        """By chain, what each rule's counter saw, in the order of the rules."""
        chains = {} if self._table is None else self._table.chains
        return {
            name: tuple(self._rule_counts.get(rule.handle, Count()) for rule in chain.rules)
            for name, chain in chains.items()
            if chain.rules
        }

    def features(self) -> frozenset[str]:
        """The optional expressions that it was given."""
        return self._features

    # ---- what packets and other writers would do

    def put(self, set_name: str, element: LiveElement) -> None:
        """An element that packets added to a dynamic set, or what an element of another set has counted."""
        self._live.setdefault(set_name, {})[element.low] = element

    def count_rule(self, chain: str, index: int, count: Count) -> None:
        """What the counter of a chain's rule has seen."""
        if self._table is None:
            raise KernelError("there is no table")
        self._rule_counts[self._table.chains[chain].rules[index].handle] = count

    def meddle(self, table: LoweredTable | None) -> None:
        """Somebody else puts another table in the place of ours."""
        self._table = None if table is None else replace(table)
        self._generation += 1
