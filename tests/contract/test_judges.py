"""What the real kernel has, as nft sees it: the same from our messages and from the script; meddling shows."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from lb4.kernel.real import RealKernel
from lb4.nft.diff import diff
from lb4.nft.lower import lower_table
from lb4.nft.text import write_table
from tests.contract.namespace import Namespace
from tests.contract.tables import EVERYTHING, small

pytestmark = pytest.mark.root


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace()
    yield made
    made.close()


@pytest.fixture
def kernel(namespace: Namespace) -> Iterator[RealKernel]:
    made = RealKernel()
    with namespace.entered():
        made.read()
    yield made
    made.close()


def program(kernel: RealKernel, table) -> None:
    seen = kernel.read()
    kernel.commit(diff(seen.table, None if table is None else lower_table(table)), seen.generation)


def blocks(namespace: Namespace) -> list[str]:
    """What nft lists, sorted by block: the order in which sets and chains were made is no part of a ruleset."""
    text = namespace.nft("list", "ruleset").replace("\n}", "")
    return sorted(block.strip() for block in re.split(r"\n(?=\t(?:set|map|chain) |table )", text))


@pytest.mark.parametrize("table", [EVERYTHING, small("10.0.1.2", "10.0.2.2")], ids=["everything", "small"])
def test_script_and_messages_make_the_same_ruleset(namespace: Namespace, kernel: RealKernel, table) -> None:
    namespace.nft("-f", "-", script=write_table(table))
    by_script = blocks(namespace)
    assert kernel.read().table == lower_table(table)
    program(kernel, None)
    program(kernel, table)
    assert blocks(namespace) == by_script
    assert namespace.nft("-j", "list", "ruleset").startswith('{"nftables"')


MEDDLING = {
    "a rule more": "add rule inet lbctl nat-web-4 counter drop",
    "a rule before": "insert rule inet lbctl nat-web-4 meta mark 7 accept",
    "a chain more": "add chain inet lbctl mine",
    "a set more": "add set inet lbctl mine { type ipv4_addr; }",
    "an element more": "add element inet lbctl listeners4 { 192.0.2.99 . tcp . 80 : goto nat-web-4 }",
    "an element less": "delete element inet lbctl listeners4 { 192.0.2.10 . tcp . 80 }",
    "no rules": "flush chain inet lbctl nat-web-4",
    "another policy": "add chain inet lbctl entry { policy drop; }",
    "a dormant table": "add table inet lbctl { flags dormant; }",
    "a chain with its own jump": "add chain inet lbctl mine; add rule inet lbctl nat-web-4 jump mine",
    "a statement we do not know": "add rule inet lbctl nat-web-4 tcp flags syn tcp option maxseg size set 1000",
    "a dynamic set of others": "add set inet lbctl mine { type ipv4_addr; flags dynamic; }; "
    "add rule inet lbctl nat-web-4 add @mine { ip saddr quota 5 bytes }",
}


@pytest.mark.parametrize("name", MEDDLING)
def test_meddling_shows_and_is_mended(namespace: Namespace, kernel: RealKernel, name: str) -> None:
    namespace.nft("add table inet theirs; add chain inet theirs keep; add rule inet theirs keep counter")
    program(kernel, small())
    wanted, before = lower_table(small()), blocks(namespace)
    namespace.nft(MEDDLING[name])
    drift = diff(kernel.read().table, wanted)
    assert drift.summary
    program(kernel, small())
    assert kernel.read().table == wanted
    assert blocks(namespace) == before


def test_flush_leaves_other_tables(namespace: Namespace, kernel: RealKernel) -> None:
    namespace.nft("add table inet theirs; add chain inet theirs keep")
    before = namespace.nft("list", "ruleset")
    program(kernel, EVERYTHING)
    program(kernel, None)
    assert namespace.nft("list", "ruleset") == before


def test_an_unchanged_element_keeps_its_counter(namespace: Namespace, kernel: RealKernel) -> None:
    program(kernel, small())
    element = "{ 192.0.2.10 . tcp . 80 . 10.0.1.2 . 8080 counter packets 5 bytes 300 }"
    namespace.nft(f"delete element inet lbctl connections4 {element}; add element inet lbctl connections4 {element}")
    program(kernel, small("10.0.2.2"))
    (live,) = kernel.elements("connections4")
    assert (live.count.packets, live.count.bytes) == (5, 300)
