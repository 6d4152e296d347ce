"""What the supervisor tells a worker, and what a worker reports.

The rule: the values below, pickled, go down the channel; up come JSON objects with the keys documented here.

Reports of every kind of worker: `{"ready": true}` once after the first Configure was carried out; `{"statistics": {…}}`
in answer to AskStatistics (the kind's own document); `{"failed": text}` when a Configure could not be carried out (the
worker keeps what it had); `{"health": [[service, address, "up"|"down", reason], …]}` from what checks or traffic found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lb4.address import Bind
from lb4.model import Service


@dataclass(frozen=True, slots=True)
class Configure:
    """All that the worker needs to know, in place of what it knew. part is the kind's own frozen value."""

    part: object


@dataclass(frozen=True, slots=True)
class ServicesChanged:
    """These services, whole, with new weights, health or admin states; all others are as before."""

    services: Mapping[str, Service]


@dataclass(frozen=True, slots=True)
class Adopt:
    """Serve these listening sockets too: one descriptor comes with the message for each bind, in this order.

    A bind that is a range comes as one bind per port.
    """

    listener: str
    binds: tuple[Bind, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Accept no more at these binds of a listener; close their sockets; live connections go on."""

    listener: str
    binds: tuple[Bind, ...]


@dataclass(frozen=True, slots=True)
class Drain:
    """Accept no more anywhere, end when the last connection has, or after this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class AskStatistics:
    """Report the statistics now."""


@dataclass(frozen=True, slots=True)
class Scraped:
    """For the metrics worker: the text, in Prometheus' format, that answers its report `{"scrape": number}`."""

    scrape: int
    text: str


Message = Configure | ServicesChanged | Adopt | Release | Drain | AskStatistics | Scraped
