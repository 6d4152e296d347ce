"""A backend under watch: what the health worker is told to probe.

The rule: a value that both processes know by the same name.
"""

from __future__ import annotations

from dataclasses import dataclass

from lb4.address import Endpoint, IPAddress
from lb4.model import HealthCheck


@dataclass(frozen=True, slots=True)
class Target:
    """A backend of a service and how it is checked; source: the address that probes come from, None leaves it open."""

    service: str
    endpoint: Endpoint
    check: HealthCheck
    source: IPAddress | None = None
