"""A kernel that counts its transactions and how long they took, for the metrics.

The rule: it changes nothing of what the kernel behind it says and does.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from lb4.kernel.interface import Count, Kernel, LiveElement, Snapshot
from lb4.nft.diff import Transaction
from lb4.nft.field import Value

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds in seconds of the buckets that transactions are counted in."""


@dataclass(slots=True)
class Transactions:
    """What was committed: how many by bucket of time (the last has no bound), seconds in all, and how many failed."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0
    refused: int = 0

    def count(self, seconds: float) -> None:
        """One that is in force."""
        self.buckets[sum(seconds > bound for bound in BOUNDS)] += 1
        self.seconds += seconds


class TimedKernel:
    """Implements lb4.kernel.Kernel."""

    def __init__(self, kernel: Kernel) -> None:
        """kernel: the one that does it all."""
        self._kernel = kernel
        self.transactions = Transactions()

    @property
    def ports(self) -> frozenset[int]:
        """As the kernel behind it."""
        return self._kernel.ports

    def read(self) -> Snapshot:
        """As the kernel behind it."""
        return self._kernel.read()

    def commit(self, transaction: Transaction, generation: int) -> None:
        """As the kernel behind it, measured."""
        begun = time.perf_counter()
        try:
            self._kernel.commit(transaction, generation)
        except BaseException:
            self.transactions.refused += 1
            raise
        if transaction:
            self.transactions.count(time.perf_counter() - begun)

    def elements(self, set_name: str) -> tuple[LiveElement, ...]:
        """As the kernel behind it."""
        return self._kernel.elements(set_name)

    def delete_elements(self, set_name: str, keys: Iterable[Value]) -> None:
        """As the kernel behind it."""
        self._kernel.delete_elements(set_name, keys)

    def rule_counts(self) -> dict[str, tuple[Count, ...]]:
        """As the kernel behind it."""
        return self._kernel.rule_counts()

    def features(self) -> frozenset[str]:
        """As the kernel behind it."""
        return self._kernel.features()
