"""A writer that is killed, and two at once: the old ruleset or the new, never a mixture."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lb4.kernel.interface import GenerationMoved
from lb4.kernel.real import RealKernel
from lb4.nft.diff import diff
from lb4.nft.lower import lower_table
from lb4.nft.program import LoweredTable
from tests.contract.namespace import Namespace
from tests.contract.tables import small

pytestmark = pytest.mark.root
LISTENERS = 1000


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace()
    yield made
    made.close()


def many(backend: str) -> LoweredTable:
    """A thousand chains like small's: a batch that takes a while."""
    table = lower_table(small(backend))
    chain = table.chains["nat-web-4"]
    more = {f"nat-{n}-4": replace(chain, name=f"nat-{n}-4") for n in range(LISTENERS)}
    return replace(table, chains={**table.chains, **more})


def write_until_killed(namespace: Namespace, wanted: list[LoweredTable], ready: int) -> None:
    """In a child: programs one table after the other, for ever."""
    with namespace.entered():
        kernel = RealKernel()
        os.write(ready, b".")
        while True:
            for table in wanted:
                seen = kernel.read()
                kernel.commit(diff(seen.table, table), seen.generation)


@pytest.mark.parametrize("delay", [0.03, 0.11, 0.2, 0.35])
def test_a_killed_writer_leaves_one_table_or_the_other(namespace: Namespace, delay: float) -> None:
    wanted = [many("10.0.1.2"), many("10.0.2.2")]
    readable, ready = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write_until_killed(namespace, wanted, ready)
        finally:
            os._exit(1)
    os.read(readable, 1)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    os.close(readable)
    os.close(ready)
    with namespace.entered():
        kernel = RealKernel()
        assert kernel.read().table in [None, *wanted]
        kernel.close()


def test_of_two_writers_that_read_the_same_one_is_told(namespace: Namespace) -> None:
    with namespace.entered():
        one, two = RealKernel(), RealKernel()
        first, second = one.read(), two.read()
    one.commit(diff(first.table, lower_table(small("10.0.1.2"))), first.generation)
    with pytest.raises(GenerationMoved):
        two.commit(diff(second.table, lower_table(small("10.0.2.2"))), second.generation)
    assert two.read().table == lower_table(small("10.0.1.2"))
    one.close()
    two.close()


def test_anonymous_sets_of_two_writers_never_share_a_name(namespace: Namespace) -> None:
    with namespace.entered():
        kernels = RealKernel(), RealKernel()
        for n in range(6):
            kernel = kernels[n % 2]
            seen = kernel.read()
            wanted = lower_table(small(*(f"10.0.{i}.2" for i in range(n + 1))))
            kernel.commit(diff(seen.table, wanted), seen.generation)
            assert kernel.read().table == wanted
    for kernel in kernels:
        kernel.close()
