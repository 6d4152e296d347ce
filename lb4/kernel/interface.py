"""The kernel as lbctl needs it: one small interface, kept by the real kernel and by a fake one.

The rule: everything lbctl asks of nf_tables goes through Kernel, and a change is one transaction: all or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from lb4.nft.diff import Transaction
from lb4.nft.field import Value
from lb4.nft.program import LoweredTable


class KernelError(Exception):
    """The kernel refused: the message names the object and the kernel's reason. Nothing was changed."""


class GenerationMoved(KernelError):
    """Somebody else changed the ruleset since it was read (ERESTART): read again and plan again."""


class FeatureMissing(KernelError):
    """The kernel lacks what the change needs: the message names the feature and the module that has it."""


@dataclass(frozen=True, slots=True)
class Count:
    """Packets and bytes that a counter saw."""

    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class LiveElement:
    """An element as the kernel has it now: its key, its datum, what it counted, seconds until it goes."""

    low: Value
    high: Value | None = None
    data: Value | None = None
    count: Count = field(default_factory=Count)
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read: the ruleset's generation and lbctl's table, None where there is none."""

    generation: int
    table: LoweredTable | None


class Kernel(Protocol):
    """nf_tables of one network namespace, as far as lbctl's own table goes."""

    @property
    def ports(self) -> frozenset[int]:
        """The netlink ports by which the kernel's events tell this one's changes from those of others."""
        ...

    def read(self) -> Snapshot:
        """The table as it stands. Dynamic sets come without elements."""
        ...

    def commit(self, transaction: Transaction, generation: int) -> None:
        """Makes all of the change or nothing. Raises GenerationMoved, FeatureMissing or KernelError."""
        ...

    def elements(self, set_name: str) -> tuple[LiveElement, ...]:
        """A set's elements with their counts; empty where there is no such set."""
        ...

    def delete_elements(self, set_name: str, keys: Iterable[Value]) -> None:
        """Removes elements of a dynamic set; one that is gone already is no error."""
        ...

    def rule_counts(self) -> dict[str, tuple[Count, ...]]:
        """By chain, what each rule's counter saw, in the order of the rules; a rule without one counts as zero."""
        ...

    def features(self) -> frozenset[str]:
        """Names of the optional expressions this kernel has, found by dry run: `queue`, `flow_offload`, …"""
        ...
