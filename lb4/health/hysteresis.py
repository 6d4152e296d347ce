"""Hysteresis: how single results of a check become a backend's health.

The rule: no timer and no I/O; the first result decides the start, after that `rise` good ones in a row make a
backend `up` and `fall` bad ones make it `down`.
"""

from __future__ import annotations

from dataclasses import dataclass

from lb4.model import Health, HealthCheck


@dataclass(frozen=True, slots=True)
class Observed:
    """A backend's health and how many results in a row spoke against it."""

    health: Health = Health.UNCHECKED
    against: int = 0


def observe(before: Observed, ok: bool, check: HealthCheck) -> Observed:
    """What is known after one more result. Health changed when `before.health != after.health`."""
    found = Health.UP if ok else Health.DOWN
    if before.health is Health.UNCHECKED or found is before.health:
        return Observed(found)
    needed = check.rise if ok else check.fall
    against = before.against + 1
    return Observed(found) if against >= needed else Observed(before.health, against)
