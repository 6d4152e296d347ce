"""Schedulers: tables of cases."""

from __future__ import annotations

from collections import Counter

import pytest

from lb4.address import parse_endpoint, parse_ip
from lb4.model import Backend, Scheduler, SchedulerKind, Service
from lb4.schedulers import maglev, smooth
from lb4.schedulers.jhash import jhash, scaled
from lb4.schedulers.picker import picker_of
from lb4.schedulers.slots import slots

CYCLES = [
    ((3, 1), "abaa"),
    ((1, 3), "babb"),
    ((1, 1, 1), "abc"),
    ((5, 1, 1), "aabacaa"),
    ((2, 4), "bab"),
    ((7,), "a"),
    ((0, 2, 0), "b"),
    ((0, 0), ""),
    ((), ""),
]


@pytest.mark.parametrize(("weights", "turns"), CYCLES)
def test_turns_are_spread_out(weights: tuple[int, ...], turns: str) -> None:
    assert "".join("abc"[place] for place in smooth.cycle(weights)) == turns


def test_a_cycle_is_bounded_whatever_the_weights() -> None:
    turns = Counter(smooth.cycle((100_000, 1, 30_000)))
    assert sum(turns.values()) <= smooth.SLOTS_MAX + 3
    assert turns[1] == 1
    assert abs(turns[0] / turns[2] - 100 / 30) < 0.02


# from a C program around linux/jhash.h: bytes 1, 8, 15, … hashed with seed 5
JHASHES = {
    0: 0xDEADBEF4,
    1: 0xF1524A01,
    4: 0x715C7BFB,
    11: 0xB9744F8A,
    12: 0xA7245B95,
    13: 0x649AAD18,
    16: 0x649764B3,
    24: 0x50E6FC3C,
    40: 0xA4034166,
}


@pytest.mark.parametrize(("length", "expected"), JHASHES.items())
def test_jhash_is_the_kernels(length: int, expected: int) -> None:
    assert jhash(bytes((at * 7 + 1) & 255 for at in range(length)), 5) == expected


def test_a_scaled_hash_stays_below_its_modulus() -> None:
    assert {scaled(bytes((n,)), 1, 3) for n in range(50)} == {0, 1, 2}


def test_maglev_ignores_order_and_gives_weight_zero_nothing() -> None:
    names = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]
    one, other = maglev.table(names, [1, 2, 0]), maglev.table(names[::-1], [0, 2, 1])
    assert [names[place] for place in one] == [names[::-1][place] for place in other]
    assert set(one) == {0, 1}
    assert maglev.table([], []) == ()


BACKENDS = tuple(Backend(parse_endpoint(f"10.0.0.{n}:80"), weight) for n, weight in ((1, 3), (2, 1), (3, 2)))
CLIENT = parse_ip("10.9.8.7").packed


def service(kind: SchedulerKind, backends: tuple[Backend, ...] = BACKENDS) -> Service:
    return Service("web", backends, scheduler=Scheduler(kind))


@pytest.mark.parametrize("kind", SchedulerKind)
def test_candidates_are_all_backends_once(kind: SchedulerKind) -> None:
    picker = picker_of(service(kind))
    for _ in range(7):
        assert sorted(map(str, picker.candidates(CLIENT, (0, 0, 0), 0.4))) == sorted(map(str, BACKENDS))
    assert list(picker_of(service(kind, ())).candidates(CLIENT, (), 0.4)) == []


PICKS = [
    (SchedulerKind.ROUND_ROBIN, (0, 0, 0), "acbaca"),
    (SchedulerKind.LEAST_CONNECTIONS, (0, 0, 0), "acbaca"),
    (SchedulerKind.LEAST_CONNECTIONS, (3, 0, 2), "bbbbbb"),
    (SchedulerKind.LEAST_CONNECTIONS, (2, 1, 2), "aaaaaa"),
    (SchedulerKind.RANDOM, (0, 0, 0), "aaaaaa"),
]


@pytest.mark.parametrize(("kind", "active", "picks"), PICKS)
def test_first_candidates(kind: SchedulerKind, active: tuple[int, ...], picks: str) -> None:
    picker = picker_of(service(kind))
    firsts = [next(picker.candidates(CLIENT, active, 0.2)) for _ in picks]
    assert "".join("abc"[BACKENDS.index(first)] for first in firsts) == picks


def test_turns_go_on_where_an_earlier_picker_stood() -> None:
    first = picker_of(service(SchedulerKind.ROUND_ROBIN))
    next(first.candidates(CLIENT, (0, 0, 0), 0.0))
    second = picker_of(service(SchedulerKind.ROUND_ROBIN), turn=first.turn)
    assert next(second.candidates(CLIENT, (0, 0, 0), 0.0)) == BACKENDS[2]


@pytest.mark.parametrize("kind", [SchedulerKind.SOURCE_HASH, SchedulerKind.MAGLEV])
def test_a_client_keeps_its_backend_whatever_the_order_of_the_file(kind: SchedulerKind) -> None:
    clients = [parse_ip(f"10.1.{n}.7").packed for n in range(50)]
    one, other = picker_of(service(kind)), picker_of(service(kind, BACKENDS[::-1]))
    firsts = [next(one.candidates(client, (0, 0, 0), 0.0)) for client in clients]
    assert firsts == [next(other.candidates(client, (0, 0, 0), 0.0)) for client in clients]
    assert len(set(firsts)) == 3


@pytest.mark.parametrize("kind", SchedulerKind)
def test_backends_of_both_families_have_slots(kind: SchedulerKind) -> None:
    both = (*BACKENDS, Backend(parse_endpoint("[2001:db8::1]:80"), 1))
    assert {str(backend) for backend in slots(kind, both)} == {str(backend) for backend in both}
