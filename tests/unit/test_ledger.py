"""Ledgers: one process for itself, and several in shared memory, give the same answers."""

import os
from collections.abc import Callable, Iterator

import pytest

from lb4.address import IPAddress, parse_endpoint, parse_ip
from lb4.affinity import affinities_in
from lb4.ledger import Ledger, OwnLedger, SharedMemory, shared_memory, shared_with
from lb4.model import Rate

A, B = parse_ip("192.0.2.1"), parse_ip("2001:db8::1")
Pair = tuple[Ledger, Ledger]


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = shared_memory(2)
    yield descriptor
    os.close(descriptor)


def both(memory: int, kind: str) -> Pair:
    """Two that count together."""
    if kind == "own":
        one = OwnLedger()
        return one, one
    first, second = (SharedMemory(memory, 2, index).ledger("listener l") for index in range(2))
    return first, second


@pytest.mark.parametrize("kind", ["own", "shared"])
def test_what_one_lets_in_the_other_sees(memory: int, kind: str) -> None:
    first, second = both(memory, kind)
    first.add(A, 1)
    second.add(A, 1)
    second.add(B, 1)
    assert [(ledger.live(None), ledger.live(A), ledger.live(B)) for ledger in (first, second)] == [(3, 2, 1)] * 2
    first.add(A, -1)
    assert (second.live(None), second.live(A)) == (2, 1)
    first.add(None, 1)
    assert (second.live(None), second.live(A)) == (3, 1)


@pytest.mark.parametrize("kind", ["own", "shared"])
@pytest.mark.parametrize("client", [None, A])
def test_a_slower_rate_does_not_bind_the_one_that_replaces_it(memory: int, kind: str, client: IPAddress | None) -> None:
    first, _ = both(memory, kind)
    assert [first.take(client, Rate(1, 3600), 100.0) for _ in range(2)] == [True, False]
    assert [first.take(client, Rate(2), 101.0) for _ in range(3)] == [True, True, False]
    assert not first.take(client, Rate(1, 3600), 102.0)


@pytest.mark.parametrize("kind", ["own", "shared"])
def test_a_rate_is_of_all_together(memory: int, kind: str) -> None:
    pair = both(memory, kind)
    at_once = [pair[n % 2].take(None, Rate(10), 100.0) for n in range(20)]
    later = [pair[n % 2].take(None, Rate(10), 100.5) for n in range(20)]
    assert (sum(at_once), sum(later)) == (10, 5)
    assert [pair[0].take(client, Rate(1, 60), 100.0) for client in (A, B, A)] == [True, True, False]


def test_a_worker_that_comes_anew_has_nothing_open(memory: int) -> None:
    first, second = (SharedMemory(memory, 2, index).ledger("l") for index in range(2))
    first.add(A, 1)
    second.add(A, 1)
    SharedMemory(memory, 2, 0)
    assert second.live(A) == 1


def test_two_listeners_do_not_count_together(memory: int) -> None:
    shared = SharedMemory(memory, 2, 0)
    shared.ledger("one").add(A, 1)
    assert shared.ledger("two").live(A) == 0


@pytest.mark.parametrize("told", [[], ["-1", "2", ""]])
def test_without_memory_everybody_counts_for_himself(told: list[str]) -> None:
    made: Callable[[str], Ledger] = shared_with(0, told)[0]
    made("l").add(A, 1)
    assert made("l").live(A) == 0


def test_a_client_s_backend_is_known_to_all(memory: int) -> None:
    first, second = (SharedMemory(memory, 2, index) for index in range(2))
    one, other = (affinities_in(each.affinities)("web", 10.0) for each in (first, second))
    for client, backend in ((A, "10.0.0.1:80"), (B, "[2001:db8::9]:443"), (parse_ip("192.0.2.9"), "10.0.0.2")):
        one.remember(client.packed, parse_endpoint(backend), 100.0)
        assert str(other.backend_of(client.packed, 109.0)) == backend
        assert other.backend_of(client.packed, 110.0) is None
    assert affinities_in(first.affinities)("api", 10.0).backend_of(A.packed, 101.0) is None
