"""The contract of lb4.kernel.interface.Kernel, kept by the real kernel and by the one in memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from lb4.doctor.foreign import foreign_chains
from lb4.kernel.fake import FakeKernel
from lb4.kernel.interface import FeatureMissing, GenerationMoved, Kernel, KernelError, LiveElement, Snapshot
from lb4.kernel.real import RealKernel
from lb4.nft.diff import diff
from lb4.nft.expression import Count, Lookup, QueueTo, Target
from lb4.nft.features import FEATURES
from lb4.nft.lower import lower_table
from lb4.nft.program import LoweredChain, LoweredRule, LoweredTable
from lb4.nft.transaction import AddChain, AddElements, AddRule, AddTable, RemoveChain, RemoveSet, Transaction
from tests.contract.namespace import Namespace
from tests.contract.tables import EVERYTHING, address, port, small

REAL = pytest.mark.parametrize("place", [pytest.param("real", marks=pytest.mark.root)], indirect=True)


@dataclass
class Place:
    kernel: Kernel
    namespace: Namespace | None = None

    def seen_by_another(self) -> Snapshot:
        """What a kernel reads that remembers nothing."""
        if self.namespace is None:
            return self.kernel.read()
        with self.namespace.entered(), RealKernel() as another:
            return another.read()

    def remember(self, client: str, backend: str) -> None:
        if self.namespace is not None:
            self.namespace.nft(f"add element inet lbctl affinity4 {{ {client} : {backend} . 8080 }}")
        elif isinstance(self.kernel, FakeKernel):
            data = (address(backend), port(8080))
            self.kernel.put("affinity4", LiveElement((address(client),), None, data, expires=600.0))


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.root)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "fake":
        yield Place(FakeKernel(FEATURES.keys() - {"queue"}))
        return
    namespace, kernel = Namespace(), RealKernel()
    with namespace.entered():
        kernel.read()
    yield Place(kernel, namespace)
    kernel.close()
    namespace.close()


def program(kernel: Kernel, wanted: LoweredTable | None) -> Transaction:
    seen = kernel.read()
    transaction = diff(seen.table, wanted)
    kernel.commit(transaction, seen.generation)
    return transaction


@pytest.mark.parametrize("table", [EVERYTHING, small()], ids=["everything", "small"])
def test_what_was_programmed_is_read_and_nothing_is_left_to_do(place: Place, table) -> None:
    wanted = lower_table(table)
    assert place.kernel.read().table is None
    program(place.kernel, wanted)
    read = place.kernel.read().table
    assert read == wanted
    assert not diff(read, wanted)
    program(place.kernel, None)
    assert place.kernel.read().table is None


@pytest.mark.parametrize(("before", "after"), [
    (EVERYTHING, small()), (small(), EVERYTHING), (small("10.0.1.2"), small("10.0.1.2", "10.0.2.2")),
])  # fmt: skip
def test_one_table_becomes_another(place: Place, before, after) -> None:
    program(place.kernel, lower_table(before))
    program(place.kernel, lower_table(after))
    assert place.kernel.read().table == lower_table(after)


def test_what_stays_keeps_its_handle(place: Place) -> None:
    program(place.kernel, lower_table(small("10.0.1.2")))
    kept = place.kernel.read().table.chains["nat-web-4"].rules[0].handle
    transaction = program(place.kernel, lower_table(small("10.0.1.2", "10.0.2.2")))
    assert len(transaction.changes) == 2
    rules = place.kernel.read().table.chains["nat-web-4"].rules
    assert rules[0].handle == kept
    assert rules[1].handle > kept


def test_a_change_for_an_older_generation_is_refused(place: Place) -> None:
    seen = place.kernel.read()
    program(place.kernel, lower_table(small()))
    with pytest.raises(GenerationMoved):
        place.kernel.commit(diff(None, lower_table(EVERYTHING)), seen.generation)
    assert place.kernel.read().table == lower_table(small())


def test_what_was_read_is_known_until_anybody_changes_something(place: Place) -> None:
    program(place.kernel, lower_table(small()))
    known = place.kernel.read()
    assert place.kernel.read().table is known.table
    if place.namespace is not None:
        place.namespace.nft("add chain inet lbctl mine")
        place.namespace.nft("add rule inet lbctl mine drop")
        assert place.kernel.read() == place.seen_by_another() != known
        place.namespace.nft("add table inet others")
        place.namespace.nft("delete table inet lbctl")
    else:
        program(place.kernel, None)
    assert place.kernel.read().table is None


MISSING_SET = LoweredRule((Lookup(0, "nowhere"),))
REFUSED = {
    "a rule that names no set": (
        (AddChain(LoweredChain("a")), AddRule("a", LoweredRule(()), 0), AddRule("a", MISSING_SET, 1)),
        r"^chain a, rule 2: the kernel says 'No such file or directory'"),
    "a chain in use": ((AddChain(LoweredChain("a")), RemoveChain("nat-web-4")),
                       r"^chain nat-web-4: the kernel says 'Device or resource busy'"),
    "a set in use": ((AddChain(LoweredChain("a")), RemoveSet("listeners4")),
                     r"^set listeners4: the kernel says 'Device or resource busy'"),
    "a chain that is not there": ((RemoveChain("b"),), r"^chain b: the kernel says 'No such file or directory'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_batch_refused_in_the_middle_changes_nothing_and_names_the_object(place: Place, name: str) -> None:
    program(place.kernel, lower_table(small()))
    before = place.kernel.read()
    changes, message = REFUSED[name]
    with pytest.raises(KernelError, match=message):
        place.kernel.commit(Transaction((AddTable(), *changes)), before.generation)
    assert place.kernel.read() == place.seen_by_another() == before


def test_a_missing_feature_is_named_with_its_module(place: Place) -> None:
    if "queue" in place.kernel.features():
        pytest.skip("this kernel has them all")
    chain = LoweredChain("a", (LoweredRule((QueueTo(0, 1),)),))
    with pytest.raises(FeatureMissing, match=r"^chain a, rule 1: this kernel lacks 'queue' \(module nft_queue\)"):
        program(place.kernel, LoweredTable(chains={"a": chain}))
    assert place.kernel.read().table is None


@REAL
def test_a_missing_target_is_named_with_its_module(place: Place) -> None:
    chain = LoweredChain("a", (LoweredRule((Target("NOSUCH", 0, b""),)),))
    with pytest.raises(FeatureMissing, match=r"^chain a, rule 1: this kernel lacks 'NOSUCH' \(module xt_NOSUCH\)"):
        program(place.kernel, LoweredTable(chains={"a": chain}))


@REAL
def test_more_is_refused_than_the_socket_holds(place: Place) -> None:
    """The first of it is told, and the next request is answered."""
    changes = (AddTable(), AddChain(LoweredChain("a")), *(AddRule("a", MISSING_SET, 0) for _ in range(60_000)))
    with pytest.raises(KernelError, match=r"^chain a, rule 1: the kernel says 'No such file or directory'"):
        place.kernel.commit(Transaction(changes), place.kernel.read().generation)
    assert place.kernel.read().table is None


ROUNDS = 150


@REAL
def test_reading_while_somebody_else_keeps_changing_it(place: Place) -> None:
    everything, rule = lower_table(EVERYTHING), LoweredRule((Count(),))
    many = {f"many-{n}": LoweredChain(f"many-{n}", (rule,) * 5) for n in range(400)}
    tables = [replace(everything, chains={**everything.chains, **many}), lower_table(small()), None]

    def change() -> None:
        with place.namespace.entered(), RealKernel() as another:
            for number in range(ROUNDS):
                program(another, tables[number % 3])

    with ThreadPoolExecutor(1) as threads, place.namespace.entered():
        changing = threads.submit(change)
        while not changing.done():
            assert place.kernel.read().table in (*tables, LoweredTable())
            assert place.kernel.rule_counts().keys() <= tables[0].chains.keys()
            assert len(place.kernel.elements("connections4")) <= 1
            foreign_chains()
        changing.result()


@pytest.mark.parametrize("name", ["deny4", "deny6", "ports", "connections4"])
def test_an_element_that_stands_for_all_keys_is_seen_and_taken_away(place: Place, name: str) -> None:
    wanted = lower_table(EVERYTHING)
    program(place.kernel, wanted)
    everybody = AddElements(wanted.sets[name], ((b"", None),))
    place.kernel.commit(Transaction((everybody,)), place.kernel.read().generation)
    assert [str(change.name) for change in program(place.kernel, wanted)] == [f"{name} {{ * }}"]
    assert place.kernel.read().table == wanted


def test_elements_live_as_long_as_they_are_in_the_table(place: Place) -> None:
    program(place.kernel, lower_table(small()))
    (element,) = place.kernel.elements("connections4")
    assert element.low == (address("192.0.2.10"), b"\x06", port(80), address("10.0.1.2"), port(8080))
    assert element.count.packets == 0
    assert place.kernel.elements("nowhere") == ()


def test_dynamic_elements_are_shown_removed_and_survive_other_changes(place: Place) -> None:
    program(place.kernel, lower_table(small()))
    place.remember("10.0.0.2", "10.0.1.2")
    place.remember("10.0.0.3", "10.0.1.2")
    program(place.kernel, lower_table(small("10.0.2.2")))
    found = {each.low: each for each in place.kernel.elements("affinity4")}
    assert found.keys() == {(address("10.0.0.2"),), (address("10.0.0.3"),)}
    one = found[(address("10.0.0.2"),)]
    assert one.data == (address("10.0.1.2"), port(8080))
    assert one.expires is not None
    assert 0 < one.expires <= 600
    place.kernel.delete_elements("affinity4", [(address("10.0.0.2"),), (address("10.9.9.9"),)])
    assert [each.low for each in place.kernel.elements("affinity4")] == [(address("10.0.0.3"),)]


def test_rules_without_a_counter_count_nothing(place: Place) -> None:
    program(place.kernel, lower_table(small()))
    counts = place.kernel.rule_counts()
    assert {name: len(each) for name, each in counts.items()} == {"nat-web-4": 2, "entry": 1}


def test_order_does_not_matter_but_for_rules(place: Place) -> None:
    wanted = lower_table(EVERYTHING)
    program(place.kernel, wanted)
    turned = replace(wanted, sets=dict(reversed(wanted.sets.items())), chains=dict(reversed(wanted.chains.items())))
    assert not diff(place.kernel.read().table, turned)
