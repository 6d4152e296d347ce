"""The ruleset as the kernel has it: rules are programs of register expressions, sets hold bytes.

The rule: two equal values are the same to the kernel. Handles, and what counters and limits have seen, are no part
of equality. Registers are the sixteen 32-bit words of nf_tables, 0 to 15; key and data are as they lie in them,
every field of a concatenation padded to four bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lb4.nft.expression import Expression
from lb4.nft.lowered_set import LoweredSet
from lb4.nft.ruleset import Base


@dataclass(frozen=True, slots=True)
class LoweredRule:
    """A program and its comment; the handle is the kernel's name for it, 0 before it has one."""

    program: tuple[Expression, ...]
    comment: str = ""
    handle: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class LoweredChain:
    """A chain's rules in order; base None: no hook. policy: the verdict at a base chain's end, lbctl's is accept."""

    name: str
    rules: tuple[LoweredRule, ...] = ()
    base: Base | None = None
    policy: str = "accept"


@dataclass(frozen=True, slots=True)
class LoweredTable:
    """A whole table. Anonymous sets are in the rules that have them, not in sets. flags: NFT_TABLE_F_*."""

    sets: Mapping[str, LoweredSet] = field(default_factory=dict)
    chains: Mapping[str, LoweredChain] = field(default_factory=dict)
    name: str = "lbctl"
    family: str = "inet"
    flags: int = 0
