"""Smooth weighted round-robin: in which order backends of unequal weight take their turns.

The rule: in one cycle each backend comes as often as its weight says, spread out instead of in bursts (3:1 is a b a a).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import gcd

SLOTS_MAX = 4096
"""The longest cycle. Weights whose reduced sum is larger are scaled down to it, none of them to nothing."""


def cycle(weights: Sequence[int]) -> tuple[int, ...]:
    """The turns of one cycle as indices into weights; backends of weight 0 take none, no weight at all is ()."""
    return _cycle(reduced(weights))


def grouped(weights: Sequence[int]) -> tuple[int, ...]:
    """One cycle's turns, each backend's together: for picks by hash or at random, where the order says nothing."""
    return tuple(index for index, weight in enumerate(reduced(weights)) for _ in range(weight))


def reduced(weights: Sequence[int]) -> tuple[int, ...]:
    """The weights divided by their common divisor, and scaled so that their sum stays near SLOTS_MAX at most."""
    divisor = gcd(*weights)
    if divisor == 0:
        return tuple(weights)
    small = tuple(weight // divisor for weight in weights)
    total = sum(small)
    if total <= max(SLOTS_MAX, len(small)):
        return small
    scaled = tuple(max(1, round(weight * SLOTS_MAX / total)) if weight else 0 for weight in small)
    return tuple(weight // gcd(*scaled) for weight in scaled)


@lru_cache(maxsize=1024)
def _cycle(weights: tuple[int, ...]) -> tuple[int, ...]:
    """nginx's way (ngx_http_upstream_round_robin.c), but of two that are due alike the one with fewer turns so far."""
    if len(set(weights)) == 1:
        return tuple(range(len(weights))) * min(weights[0], 1)
    due, taken, total, turns = [0] * len(weights), [0] * len(weights), sum(weights), []
    indices = [index for index, weight in enumerate(weights) if weight]
    for _ in range(total):
        for index in indices:
            due[index] += weights[index]
        best = max(indices, key=lambda i: (due[i], -taken[i], -i))
        due[best] -= total
        taken[best] += 1
        turns.append(best)
    return tuple(turns)
