"""`lbctl top`: rates from one look and the next, and the screen they stand on."""

from __future__ import annotations

from typing import Any

import pytest
from click import unstyle

from cli.top.rates import KEPT, Rates, after, sparkline
from cli.top.screen import HELP, View, screen


def document(total: int = 0, size: int = 0, backends: int = 2) -> dict[str, Any]:
    """A status of one service whose first backend has these counts."""
    counts = [(total, size)] + [(0, 0)] * (backends - 1)
    return {
        "listeners": [{"name": "web"}],
        "services": [
            {
                "name": "web",
                "scheduler": "random",
                "backends": [
                    {
                        "address": f"10.0.{n}.2:80",
                        "weight": 1,
                        "health": "up",
                        "admin": "enabled",
                        "connections": {"active": 0, "total": count},
                        "bytes": carried,
                    }
                    for n, (count, carried) in enumerate(counts)
                ],
            }
        ],
    }


KEY = ("web", "10.0.0.2:80")


def test_rates_are_differences_by_time() -> None:
    rates = after(after(Rates(), document(100, 1000), 10.0), document(110, 3000), 12.0)
    assert rates.connections[KEY] == (5.0,)
    assert rates.bytes[KEY] == 1000.0


def test_a_count_that_went_down_is_no_negative_rate() -> None:
    rates = after(after(Rates(), document(100, 1000), 1.0), document(3, 0), 2.0)
    assert (rates.connections[KEY], rates.bytes[KEY]) == ((0.0,), 0.0)


def test_only_the_last_looks_are_kept() -> None:
    rates = Rates()
    for look in range(100):
        rates = after(rates, document(look * look), float(look))
    assert len(rates.connections[KEY]) == KEPT
    assert rates.connections[KEY][-1] == 99**2 - 98**2


@pytest.mark.parametrize(
    ("values", "bars"), [((), ""), ((0.0, 0.0), "  "), ((0.0, 4.0, 8.0), " ▄█"), ((0.001, 100.0), "▁█")]
)
def test_sparklines(values: tuple[float, ...], bars: str) -> None:
    assert sparkline(values) == bars


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (40, 10), (10, 5)])
@pytest.mark.parametrize("backends", [1, 2, 50])
def test_the_screen_fits_and_shows_what_was_chosen(width: int, height: int, backends: int) -> None:
    rates = Rates()
    for look in range(30):
        rates = after(rates, document(look * 7, look, backends), float(look))
    for chosen in {0, backends // 2, backends - 1}:
        lines = screen(document(210, 30, backends), rates, View(chosen, "done"), width, height)
        assert len(lines) == height
        assert max(len(unstyle(line)) for line in lines) <= width
        assert any(f"10.0.{chosen}.2:80"[: width - 1] in line for line in lines if "\x1b[7m" in line)
        assert unstyle(lines[-1]) == HELP[:width]


def test_a_row() -> None:
    rates = after(after(Rates(), document(0, 0), 1.0), document(12, 4096), 2.0)
    lines = [unstyle(line) for line in screen(document(12, 4096), rates, View(chosen=1), 80, 24)]
    assert lines[0] == "lbctl top   1 listener, 1 service"
    assert lines[2:4] == [
        "web  random",
        " 10.0.0.2:80                1 up        enabled       0     12   4.0 KiB █",
    ]
