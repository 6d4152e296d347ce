"""What the workers of packet mode and of first packets are told.

The rule: frozen values that can be pickled; everything in them is of one configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lb4.model import Balancer
from lb4.packet.flow_table import FLOWS_MAX
from lb4.packet.ports import PortRange


@dataclass(frozen=True, slots=True)
class PacketPart:
    """What all workers of packet mode are told. modules: the directory of a user's own schedulers."""

    balancer: Balancer
    workers: int = 1
    ports: PortRange = field(default_factory=PortRange)
    flows_max: int = FLOWS_MAX
    modules: str = ""


@dataclass(frozen=True, slots=True)
class AssistPart:
    """What the worker that picks for first packets is told. modules: the directory of a user's own schedulers."""

    balancer: Balancer
    modules: str = ""
