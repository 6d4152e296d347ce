"""The optional parts of nf_tables: which a change needs, and how a kernel is asked whether it has one.

The rule: a probe is an expression with a name and nothing else, in a batch that is never finished; so asking changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from lb4.netlink.attributes import nested, string
from lb4.netlink.socket import NLM_F_APPEND, NLM_F_CREATE
from lb4.nft import expression as low
from lb4.nft import message as m
from lb4.nft.encode import Encoded
from lb4.nft.encode_expression import name_and_data
from lb4.nft.expression import Lookup
from lb4.nft.lowered_set import AnonymousSet
from lb4.nft.transaction import AddRule, Change

FEATURES: dict[str, str] = {
    "ct": "nft_ct",
    "numgen": "nft_numgen",
    "hash": "nft_hash",
    "nat": "nft_chain_nat, nft_nat",
    "masq": "nft_masq",
    "reject": "nft_reject_inet",
    "limit": "nft_limit",
    "connlimit": "nft_connlimit",
    "dynset": "nf_tables",
    "fib": "nft_fib_inet",
    "queue": "nft_queue",
    "target": "nft_compat, xt_NFQUEUE",
    "notrack": "nft_ct",
    "log": "nft_log",
    "socket": "nft_socket",
    "tproxy": "nft_tproxy",
    "flow_offload": "nft_flow_offload",
}
"""Expressions by name, and the modules that have them."""

SCRATCH = "lbctl-probe"


def probe(feature: str) -> Iterator[Encoded]:
    """A batch that would make a table, a chain, and a rule with the bare expression."""
    yield Encoded(m.NEWTABLE, NLM_F_CREATE, string(m.TABLE_NAME, SCRATCH), 0)
    yield Encoded(m.NEWCHAIN, NLM_F_CREATE, string(m.CHAIN_TABLE, SCRATCH) + string(m.CHAIN_NAME, SCRATCH), 0)
    expression = nested(m.LIST_ELEMENT, string(m.EXPRESSION_NAME, feature))
    place = string(m.RULE_TABLE, SCRATCH) + string(m.RULE_CHAIN, SCRATCH)
    yield Encoded(m.NEWRULE, NLM_F_CREATE | NLM_F_APPEND, place + nested(m.RULE_EXPRESSIONS, expression), 0)


def missing_in(change: Change, present: frozenset[str]) -> str:
    """The first feature that the change needs and the kernel lacks, with its modules; empty where there is none."""
    if not isinstance(change, AddRule):
        return ""
    for expression in change.rule.program:
        name = _name(expression)
        if name in FEATURES and name not in present:
            return f"{name!r} (module {FEATURES[name]})"
    return ""


def target_in(change: Change) -> str:
    """The target of xtables that the change needs, with its module; empty where there is none."""
    program = change.rule.program if isinstance(change, AddRule) else ()
    return next((f"{e.name!r} (module xt_{e.name})" for e in program if isinstance(e, low.Target)), "")


def _name(expression: low.Expression) -> str:
    if isinstance(expression, Lookup) and isinstance(expression.set, AnonymousSet):
        return "lookup"
    return name_and_data(expression)[0]
