"""Schedulers: what holds for any weights and any backends."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from lb4.schedulers import maglev, smooth

WEIGHTS = st.lists(st.integers(0, 300), min_size=1, max_size=8).filter(any)


@settings(max_examples=100, deadline=None)
@given(WEIGHTS)
def test_turns_come_in_proportion_to_the_weights(weights: list[int]) -> None:
    turns = Counter(smooth.cycle(weights))
    assert {index for index, weight in enumerate(weights) if weight} == set(turns)
    assert len({turns[index] / weight for index, weight in enumerate(weights) if weight}) == 1
    assert Counter(smooth.grouped(weights)) == turns


@settings(max_examples=100, deadline=None)
@given(WEIGHTS)
def test_no_backend_waits_twice_its_share(weights: list[int]) -> None:
    turns = smooth.cycle(weights)
    for backend, count in Counter(turns).items():
        places = [place for place, each in enumerate(turns) if each == backend]
        gaps = [after - before for before, after in pairwise([*places, places[0] + len(turns)])]
        assert max(gaps) < 2 * len(turns) / count + 1


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=12))
def test_maglev_gives_slots_in_proportion_to_the_weights(weights: list[int]) -> None:
    names = [f"10.0.0.{n}:80" for n in range(len(weights))]
    slots = Counter(maglev.table(names, weights))
    for index, weight in enumerate(weights):
        assert abs(slots[index] - maglev.SIZE * weight / sum(weights)) <= max(weights) + 1


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 60), st.data())
def test_maglev_moves_little_when_a_backend_goes(count: int, data: st.DataObject) -> None:
    """At most 1/N of the slots and 2 % more lead elsewhere."""
    network, gone = data.draw(st.integers(0, 255)), data.draw(st.integers(0, count - 1))
    names = [f"10.{network}.0.{n}:80" for n in range(count)]
    left = names[:gone] + names[gone + 1 :]
    before = [names[place] for place in maglev.table(names, [1] * count)]
    after = [left[place] for place in maglev.table(left, [1] * len(left))]
    moved = sum(one != other for one, other in zip(before, after, strict=True))
    assert moved / len(before) <= 1 / count + 0.02
