"""A ruleset as a typed value, in nft's own vocabulary: tables hold sets, maps and chains; chains hold rules.

The rule: what is written here is what the kernel shall hold, nothing more; how it is written (as text, as netlink
messages) is other files' business. Two equal values mean the same to the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lb4.nft.field import Value, Verdict
from lb4.nft.statement import Statement


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a set or map: `low` is its key, `high` the upper end (included) in an interval set, else None.

    data: a Value in a map of data, a Verdict in a verdict map, None in a set.
    """

    low: Value
    high: Value | None = None
    data: Value | Verdict | None = None


@dataclass(frozen=True, slots=True)
class Set:
    """A named set, map or verdict map.

    data: None for a set, "verdict" for a verdict map, else the types of a map's data. counter: every element counts
    what it matches. dynamic: rules add to it, so its elements are no part of the value, and `elements` is empty.
    timeout: seconds after which an element goes unless it is refreshed, or None. size: the most elements, or None.
    elements: in the order of their keys.
    """

    name: str
    key: tuple[str, ...]
    data: tuple[str, ...] | str | None = None
    interval: bool = False
    counter: bool = False
    dynamic: bool = False
    timeout: int | None = None
    size: int | None = None
    elements: tuple[Element, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """Statements taken from left to right until one does not match. comment is kept in the kernel and shown by nft."""

    statements: tuple[Statement, ...]
    comment: str = ""


class Hook(StrEnum):
    """Where in a packet's way a base chain stands. lbctl has none at ingress, but others may put one into its table."""

    PREROUTING = "prerouting"
    INPUT = "input"
    FORWARD = "forward"
    OUTPUT = "output"
    POSTROUTING = "postrouting"
    INGRESS = "ingress"


@dataclass(frozen=True, slots=True)
class Base:
    """What makes a chain a base chain: type `filter`, `nat` or `route`, hook and priority. The policy is accept."""

    type: str
    hook: Hook
    priority: int


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain and its rules; base None: it is reached by jump, goto or a verdict map alone."""

    name: str
    rules: tuple[Rule, ...]
    base: Base | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """One table, by default the only one lbctl has: `inet lbctl`. A table that is not there is None, not empty."""

    sets: Mapping[str, Set] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)
    name: str = "lbctl"
    family: str = "inet"
