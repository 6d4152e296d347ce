"""Forecasts and ramps as tables; documents of workers that have not the form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from cli.metrics.forecast import WINDOW, Forecast
from cli.metrics.http import http
from cli.run.ramping import Ramping
from lb4.address import Endpoint

KEY = ("web", Endpoint(ip_address("10.0.1.2"), 80))


@pytest.mark.parametrize(
    ("samples", "seconds"),
    [
        ([(0.0, 10)], math.inf),
        ([(0.0, 10), (10.0, 10)], math.inf),
        ([(0.0, 20), (10.0, 10)], math.inf),
        ([(0.0, 0), (10.0, 100)], 90.0),
        ([(0.0, 0), (10.0, 500), (20.0, 200)], 80.0),
        ([(0.0, 0), (10.0, 1000)], 0.0),
        ([(0.0, 900), (WINDOW + 1, 100), (WINDOW + 11, 200)], 80.0),
    ],
)
def test_forecast(samples: Sequence[tuple[float, int]], seconds: float) -> None:
    forecast = Forecast(1000)
    told = [forecast.observe({"a": used}, now)["a"] for now, used in samples]
    assert told[-1] == pytest.approx(seconds)


@pytest.mark.parametrize("document", [{}, {"listeners": []}, {"listeners": {"web": {}}}, [], "text", None])
def test_a_worker_that_lies_is_left_out(document: object) -> None:
    assert list(http([document])) == []


def test_a_recovery() -> None:
    ramping = Ramping()
    assert ramping.due(0.0) == ({}, None)
    ramping.came_back(KEY, 20.0, 0.0)
    steps = [ramping.due(now)[0].get(KEY, 10) for now in (0.0, 1.0, 2.0, 4.0, 10.0, 19.9, 20.0)]
    assert steps == [1, 1, 1, 2, 5, 9, 10]
    assert ramping.due(21.0) == ({}, None)


def test_steps_are_at_least_a_second_apart() -> None:
    ramping = Ramping()
    ramping.came_back(KEY, 2.0, 0.0)
    assert ramping.due(0.0) == ({KEY: 1}, 1.0)
    assert ramping.due(1.0) == ({KEY: 5}, 1.0)
    ramping.went_down(KEY)
    assert ramping.due(1.5) == ({}, None)


def test_no_slow_start_is_no_recovery() -> None:
    ramping = Ramping()
    ramping.came_back(KEY, 0.0, 0.0)
    assert ramping.due(0.0) == ({}, None)
