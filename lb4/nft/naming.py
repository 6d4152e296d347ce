"""What a change is called when people are told of it.

The rule: one line, with the names that `nft list ruleset` shows.
"""

from __future__ import annotations

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
)


def name_of(change: Change) -> str:
    """The object that a change is about."""
    match change:
        case AddTable() | RemoveTable():
            return "table lbctl"
        case AddChain(chain):
            return f"chain {chain.name}"
        case RemoveChain(name) | FlushChain(name):
            return f"chain {name}"
        case AddRule(chain, _, index) | RemoveRule(chain, index):
            return f"chain {chain}, rule {index + 1}"
        case AddSet(each) | AddElements(each) | RemoveElements(each):
            return f"set {each.name}"
        case RemoveSet(name):
            return f"set {name}"
