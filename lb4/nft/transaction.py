"""A transaction as a value: the ordered changes that turn one table into another, each with a name for people.

The rule: the order is one the kernel takes: what refers goes before what is referred to when removed, after it when
added. Nothing here knows how a change is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lb4.nft.lowered_set import Data, LoweredSet
from lb4.nft.program import LoweredChain, LoweredRule

Action = Literal["add", "change", "remove"]
Kind = Literal["table", "chain", "set", "rule", "element"]


@dataclass(frozen=True, slots=True)
class AddTable:
    """Makes the table, or resets its flags where it is there."""


@dataclass(frozen=True, slots=True)
class RemoveTable:
    """Removes the table and all that is in it."""


@dataclass(frozen=True, slots=True)
class AddChain:
    """Makes an empty chain; the value's rules come by AddRule."""

    chain: LoweredChain


@dataclass(frozen=True, slots=True)
class RemoveChain:
    """Removes a chain nothing refers to any more."""

    name: str


@dataclass(frozen=True, slots=True)
class FlushChain:
    """Removes all rules of a chain."""

    name: str


@dataclass(frozen=True, slots=True)
class AddRule:
    """Puts a rule at the place index of the chain as it will be; before: the handle of the kept rule after it, or 0."""

    chain: str
    rule: LoweredRule
    index: int
    before: int = 0


@dataclass(frozen=True, slots=True)
class RemoveRule:
    """Removes the rule at the place index of the chain as it was; several come from the last to the first."""

    chain: str
    index: int
    handle: int


@dataclass(frozen=True, slots=True)
class AddSet:
    """Makes an empty set; the value's elements come by AddElements."""

    set: LoweredSet


@dataclass(frozen=True, slots=True)
class RemoveSet:
    """Removes a set nothing refers to any more."""

    name: str


@dataclass(frozen=True, slots=True)
class AddElements:
    """Puts elements into a set; set tells its type."""

    set: LoweredSet
    elements: tuple[tuple[bytes, Data], ...]


@dataclass(frozen=True, slots=True)
class RemoveElements:
    """Takes elements out of a set by their keys; set tells its type."""

    set: LoweredSet
    elements: tuple[bytes, ...]


Change = (
    AddTable
    | RemoveTable
    | AddChain
    | RemoveChain
    | FlushChain
    | AddRule
    | RemoveRule
    | AddSet
    | RemoveSet
    | AddElements
    | RemoveElements
)


@dataclass(frozen=True, slots=True)
class NamedChange:
    """One line of a plan."""

    action: Action
    kind: Kind
    name: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """The changes in order, and what they come to for people. Empty: nothing is to be done."""

    changes: tuple[Change, ...] = ()
    summary: tuple[NamedChange, ...] = ()
    table: str = "lbctl"
    family: str = "inet"

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __iter__(self) -> Iterator[NamedChange]:
        return iter(self.summary)
