"""From nft's vocabulary down to what the kernel has: a whole table.

The rule: equal tables come out equal, and nothing is added that the table does not say.
"""

from __future__ import annotations

from lb4.nft.lower_rule import lower_rule
from lb4.nft.lower_set import lower_set
from lb4.nft.program import LoweredChain, LoweredTable
from lb4.nft.ruleset import Chain, Table

__all__ = ["lower_chain", "lower_rule", "lower_set", "lower_table"]


def lower_table(table: Table) -> LoweredTable:
    """The table as the kernel will have it."""
    intervals = frozenset(name for name, value in table.sets.items() if value.interval)
    return LoweredTable(
        sets={name: lower_set(value) for name, value in table.sets.items()},
        chains={name: lower_chain(chain, intervals) for name, chain in table.chains.items()},
        name=table.name,
        family=table.family,
    )


def lower_chain(chain: Chain, intervals: frozenset[str] = frozenset()) -> LoweredChain:
    """The chain; intervals: the names of the table's interval sets, which are looked up a little differently."""
    return LoweredChain(chain.name, tuple(lower_rule(rule, intervals) for rule in chain.rules), chain.base)
