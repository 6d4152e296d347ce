"""Slow start: a backend that has come back gets its weight little by little.

The rule: time is an argument, in seconds since the backend came up; weights stay whole numbers, in proportion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lb4.address import Endpoint
from lb4.model import Service

STEPS = 10


def step_of(since: float, slow_start: float) -> int:
    """The step, 1 to STEPS, that a backend has reached; STEPS is its whole weight."""
    if slow_start <= 0 or since >= slow_start:
        return STEPS
    return max(1, int(STEPS * since / slow_start))


def ramped(service: Service, steps: Mapping[Endpoint, int]) -> Service:
    """The service with the weights of its recovering backends lowered; steps by backend, all others are whole."""
    if all(steps.get(b.endpoint, STEPS) == STEPS for b in service.backends):
        return service
    backends = tuple(replace(b, weight=b.weight * steps.get(b.endpoint, STEPS)) for b in service.backends)
    return replace(service, backends=backends)
