"""Slow start: a backend that has come back gets its weight little by little.

The rule: time is an argument, in seconds since the backend came up; weights stay whole numbers.
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


def ramped(service: Service, since: Mapping[Endpoint, float]) -> Service:
    """The service with the weights of its recovering backends lowered; since: seconds by backend, others are whole."""
    steps = {endpoint: step_of(age, service.slow_start) for endpoint, age in since.items()}
    if all(step == STEPS for step in steps.values()):
        return service
    backends = tuple(replace(b, weight=b.weight * steps.get(b.endpoint, STEPS)) for b in service.backends)
    return replace(service, backends=backends)
