"""What turns the table the kernel has into the wanted one: the least that does it, as a Transaction.

The rule: pure; what is equal is not touched, so that counters, handles and the state of number generators live on.
Order of sets, chains and elements does not matter, order of rules does.
"""

from __future__ import annotations

from lb4.nft.program import LoweredTable
from lb4.nft.transaction import NamedChange, Transaction

__all__ = ["NamedChange", "Transaction", "diff"]


def diff(current: LoweredTable | None, wanted: LoweredTable | None) -> Transaction:
    """The changes from current to wanted; None means: no table."""
    raise NotImplementedError
