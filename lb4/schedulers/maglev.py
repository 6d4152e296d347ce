"""Maglev's consistent hashing: a table of slots that changes little when a backend comes or goes.

The rule: the table depends on the backends' texts and weights alone, not on their order. Source: Eisenbud et al.,
"Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016), section 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

SMALL = 4093
LARGE = 65521
SMALL_FOR = 40
"""Up to so many backends the small table holds: the paper asks for about 100 slots a backend. Both are primes."""


def table(names: Sequence[str], weights: Sequence[int]) -> tuple[int, ...]:
    """For each slot the index of its backend; backends of weight 0 get none, no weight at all is ()."""
    order = sorted(
        (name, weight, index) for index, (name, weight) in enumerate(zip(names, weights, strict=True)) if weight
    )
    filled = _filled(tuple((name, weight) for name, weight, _ in order))
    places = [index for _, _, index in order]
    return tuple([places[place] for place in filled])


@lru_cache(maxsize=512)
def _filled(backends: tuple[tuple[str, int], ...]) -> tuple[int, ...]:
    """Backends claim slots in turns; a turn's claim is the next free slot of the backend's own permutation."""
    if not backends:
        return ()
    size = SMALL if len(backends) <= SMALL_FOR else LARGE
    places, skips = zip(*(_permutation(name, size) for name, _ in backends), strict=True)
    turns = _turns([weight for _, weight in backends], size)
    return tuple(_claimed(list(places), skips, turns, size))


def _claimed(places: list[int], skips: Sequence[int], turns: Sequence[int], size: int) -> list[int]:
    slots = [-1] * size
    for backend in turns:
        place, skip = places[backend], skips[backend]
        while slots[place] >= 0:
            place += skip
            if place >= size:
                place -= size
        slots[place] = backend
        places[backend] = place
    return slots


def _turns(weights: Sequence[int], size: int) -> list[int]:
    """size turns: in each round a backend claims with the share weight / heaviest, the rest carried over."""
    heaviest = max(weights)
    if min(weights) == heaviest:
        return (list(range(len(weights))) * (size // len(weights) + 1))[:size]
    credit = [0] * len(weights)
    turns: list[int] = []
    while len(turns) < size:
        for backend, weight in enumerate(weights):
            credit[backend] += weight
            if credit[backend] >= heaviest:
                credit[backend] -= heaviest
                turns.append(backend)
    return turns[:size]


def _permutation(name: str, size: int) -> tuple[int, int]:
    """offset and skip of the paper: two independent hashes of the backend's text."""
    digest = blake2b(name.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big") % size, int.from_bytes(digest[8:], "big") % (size - 1) + 1
