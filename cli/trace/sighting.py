"""What trace sees and what it says: a packet at an interface, and a packet before and after the balancer.

The rule: values alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lb4.address import Endpoint

Direction = Literal["request", "response"]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A packet, from its IP header, that came in by an interface or went out by it. time: seconds since the epoch."""

    time: float
    interface: str
    outgoing: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Box:
    """One of the article's boxes: source and destination of a packet at one side of the balancer."""

    source: Endpoint
    destination: Endpoint
    sighting: Sighting


@dataclass(frozen=True, slots=True)
class Passage:
    """A packet's way through the balancer. arrived or left is None where it was not seen: answered, dropped, or made.

    flow: the flow's number. flags: TCP's as letters. length: of the IP packet in bytes. took: seconds between the two
    boxes. since: seconds since the flow's last packet, None for its first.
    """

    flow: int
    listener: str
    service: str
    direction: Direction
    protocol: str
    flags: str
    length: int
    arrived: Box | None
    left: Box | None
    since: float | None

    @property
    def took(self) -> float | None:
        """Seconds that the balancer took."""
        if self.arrived is None or self.left is None:
            return None
        return self.left.sighting.time - self.arrived.sighting.time

    @property
    def time(self) -> float:
        """When it was seen first."""
        box = self.arrived or self.left
        assert box is not None
        return box.sighting.time
