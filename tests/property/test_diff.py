"""apply(a, diff(a, b)) == b for any two tables, the second diff is empty, and the real kernel agrees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lb4.kernel.real import RealKernel
from lb4.nft.apply import apply
from lb4.nft.diff import diff
from lb4.nft.lower import lower_table
from lb4.nft.program import LoweredTable
from lb4.nft.ruleset import Chain, Set, Table
from lb4.nft.statement import VerdictMap
from tests.contract.namespace import Namespace
from tests.contract.tables import ARRIVING, CHAINS, FILTER, NAT, SETS, SOURCE, rule

NAMED = {each.name: each for each in SETS}
RULES = {"nat-web-4": NAT, "nat-dns-4": NAT, "filter": FILTER, "source": SOURCE, "empty": ()}


@st.composite
def sets(draw: st.DrawFn, name: str) -> Set:
    """The set with some of its elements, and now and then of another size: then it has to be made anew."""
    whole = NAMED[name]
    kept = tuple(each for each in whole.elements if draw(st.booleans()))
    return replace(whole, elements=kept, size=draw(st.sampled_from([whole.size, 500])))


@st.composite
def tables(draw: st.DrawFn) -> LoweredTable | None:
    if draw(st.integers(0, 9)) == 0:
        return None
    with_maps = draw(st.booleans())
    chosen = [draw(sets(name)) for name in NAMED if with_maps or NAMED[name].data != "verdict"]
    chains = [draw(chains_of(chain)) for chain in CHAINS if chain.name != "entry"]
    if with_maps:
        maps = draw(st.permutations(["listeners4", "ranges4"]))
        entry = next(chain for chain in CHAINS if chain.name == "entry")
        chains.append(replace(entry, rules=tuple(rule(VerdictMap(ARRIVING, name)) for name in maps)))
    return lower_table(Table({each.name: each for each in chosen}, {each.name: each for each in chains}))


@st.composite
def chains_of(draw: st.DrawFn, chain: Chain) -> Chain:
    """The chain with some of its rules in some order, and now and then at another priority."""
    base = chain.base
    if base is not None and draw(st.integers(0, 4)) == 0:
        base = replace(base, priority=base.priority + 1)
    rules = draw(st.lists(st.sampled_from(RULES[chain.name]), max_size=5)) if RULES[chain.name] else []
    return replace(chain, rules=tuple(rules), base=base)


@settings(max_examples=150, deadline=None)
@given(tables(), tables())
def test_the_difference_applied_is_the_wanted_table(before: LoweredTable | None, after: LoweredTable | None) -> None:
    there = apply(before, diff(before, after))
    assert there == after
    assert not diff(there, after)
    if after is not None:
        assert not diff(there, replace(after, sets=dict(reversed(after.sets.items()))))


@settings(max_examples=60, deadline=None)
@given(tables(), tables())
def test_the_difference_is_no_more_than_both_tables(before: LoweredTable | None, after: LoweredTable | None) -> None:
    changes = diff(before, after).changes
    assert len(changes) <= len(diff(before, None).changes) + len(diff(None, after).changes) + _size(before)


def _size(table: LoweredTable | None) -> int:
    if table is None:
        return 0
    return len(table.sets) + sum(1 + len(chain.rules) for chain in table.chains.values())


@pytest.fixture(scope="module")
def kernel() -> Iterator[RealKernel]:
    namespace, made = Namespace(), RealKernel()
    with namespace.entered():
        made.read()
    yield made
    made.close()
    namespace.close()


@pytest.mark.root
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(after=tables())
def test_the_real_kernel_goes_from_any_table_to_any_other(kernel: RealKernel, after: LoweredTable | None) -> None:
    seen = kernel.read()
    kernel.commit(diff(seen.table, after), seen.generation)
    assert kernel.read().table == after
