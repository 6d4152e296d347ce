"""The documents that operations return: what `--json` prints, and what the human output is made of.

The rule: scripts rely on these keys (INTERFACE.md section 4); one may be added, none goes or changes its meaning.
Lines in `warnings` are for people and go to standard error.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class ChangeDocument(TypedDict):
    """One thing that comes, goes or differs.

    kind: `listener`, `service`, `backend`, `setting` (what concerns lbctl itself), or an object of the kernel's table
    (`chain`, `set`, `rule`, …). drift: it is there because somebody else edited the table, not because of the file.
    """

    action: str
    kind: str
    name: str
    detail: NotRequired[str]
    drift: NotRequired[bool]


class FlowCounts(TypedDict):
    """Live flows that a change leaves alone, and that it ends."""

    kept: int
    ended: int


class OverrideDocument(TypedDict):
    """What the operator wants of a backend apart from the file."""

    service: str
    backend: str
    admin: NotRequired[str]
    weight: NotRequired[int]


class PlanDocument(TypedDict):
    """What `apply` would do."""

    changes: list[ChangeDocument]
    flows: FlowCounts
    overrides: list[OverrideDocument]
    warnings: list[str]


class ApplyDocument(TypedDict):
    """What `apply`, `rollback` or `flush` did. confirm: seconds in which `lbctl confirm` is awaited, or null."""

    changes: list[ChangeDocument]
    flows: FlowCounts
    overrides: list[OverrideDocument]
    warnings: list[str]
    file: str | None
    confirm: float | None


class ConfirmDocument(TypedDict):
    """What `confirm` kept, and how many seconds before it would have been undone."""

    file: str | None
    seconds_left: float


class FlushDocument(TypedDict):
    """Whether there was anything to remove."""

    removed: bool


class RefreshDocument(TypedDict):
    """Whether the kernel was changed, and how many stale flows were ended."""

    changed: bool
    ended: int


class ConnectionCounts(TypedDict):
    """Connections open now, and since counting began."""

    active: int
    total: int


class BackendDocument(TypedDict):
    """One backend in `status`. override: what of it is the operator's and not the file's."""

    address: str
    weight: int
    health: str
    admin: str
    connections: ConnectionCounts
    packets: int
    bytes: int
    backup: NotRequired[bool]
    name: NotRequired[str]
    override: NotRequired[dict[str, str | int]]


class ServiceDocument(TypedDict):
    """One service in `status`."""

    name: str
    scheduler: str
    backends: list[BackendDocument]


class ListenerDocument(TypedDict):
    """One listener in `status`. refused: packets of new flows that were not let in, by reason."""

    name: str
    mode: str
    protocol: str
    bind: list[str]
    service: str | None
    refused: dict[str, int]


class StatusDocument(TypedDict):
    """Everything in force."""

    listeners: list[ListenerDocument]
    services: list[ServiceDocument]
    queues: NotRequired[list[dict[str, int]]]
    """Packet queues: queue (its number), packets waiting, dropped because it was full, failed, cut at the copy limit,
    flows, and flows resumed from the worker before."""


class FlowDocument(TypedDict):
    """One live flow; packets and bytes are from the client and from the backend."""

    listener: str
    service: str
    protocol: str
    client: str
    target: str
    source: str
    backend: str
    state: str
    packets: list[int]
    bytes: list[int]


class AdminDocument(TypedDict):
    """What a backend is after `drain`, `enable`, `disable` or `weight`, and the flows it has."""

    service: str
    backend: str
    admin: str
    weight: int
    active: int
    warnings: list[str]


class ActiveDocument(TypedDict):
    """The open flows of a backend, by which `drain --wait` goes."""

    service: str
    backend: str
    active: int


class CandidateDocument(TypedDict):
    """A backend that may be picked, and how probably, from 0 to 1."""

    backend: str
    probability: float


class ExplainDocument(TypedDict):
    """What would happen, and why. verdict: `forward`, `reject`, `drop`, `pass` or `respond`."""

    verdict: str
    listener: str | None
    service: str | None
    backend: str | None
    candidates: list[CandidateDocument]
    steps: list[str]
    route: NotRequired[str | None]


class ExportDocument(TypedDict):
    """A script, what it is for, and what it cannot do."""

    format: str
    text: str
    warnings: list[str]


class FindingDocument(TypedDict):
    """One thing `doctor` looked at. fix: the command that mends it, or empty; safe: `--fix` may do it."""

    level: str
    name: str
    what: str
    fix: str
    safe: bool
    fixed: NotRequired[bool]


class DoctorDocument(TypedDict):
    """All findings, the worst level first in each group."""

    findings: list[FindingDocument]
