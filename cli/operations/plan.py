"""`plan`: what `apply` would change, object by object, and which live flows it would touch.

The rule: it reads the kernel and changes nothing; it goes by the same diff and the same choice of flows as `apply`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cli.operations.context import Context
from cli.operations.documents import ChangeDocument, OverrideDocument, PlanDocument
from cli.operations.error import OperationError
from cli.operations.transition import Difference, difference, sorted_out, table_of
from cli.operations.wanted import EMPTY, InForce, before, configured, relevant, wanted
from cli.operations.warn import warnings_of
from cli.state import Overrides, Remembered
from lb4.model import Balancer
from lb4.nft.diff import NamedChange, diff
from lb4.nft.program import LoweredTable

if TYPE_CHECKING:
    from cli.config.model import Configuration


def plan(context: Context, *, path: str, text: str) -> PlanDocument:
    """The document of INTERFACE.md for the file of that text. Raises OperationError."""
    configuration = configured(Remembered(text, path))
    now, after = before(context, configuration), wanted(context, configuration.balancer)
    found = difference(context, table_of(context, after))
    stale, kept = sorted_out(context, [now.balancer], after)
    return {
        "changes": change_documents(context, now, configuration, after, found),
        "flows": {"kept": kept, "ended": len(stale)},
        "overrides": override_documents(relevant(context.state.overrides(), after)),
        "warnings": warnings_of(context, configuration),
    }


def change_documents(
    context: Context, now: InForce, configuration: Configuration, after: Balancer, found: Difference
) -> list[ChangeDocument]:
    """What changes by the file, then what somebody else changed in the kernel's table, then what else differs."""
    from cli.config.changes import file_changes

    by_file = file_changes(now.configuration, now.balancer, configuration, after)
    documents = [_change(c.action, c.kind, c.name, c.detail) for c in by_file]
    if not found.transaction:
        return documents
    drift = found.transaction.summary if now.balancer == after else _drift(context, now.balancer, found.actual)
    if found.actual is not None or now.balancer != EMPTY:
        documents += [{**_change(c.action, c.kind, c.name), "drift": True} for c in drift]
    return documents or [_change(c.action, c.kind, c.name) for c in found.transaction.summary]


def _drift(context: Context, before: Balancer, actual: LoweredTable | None) -> Iterable[NamedChange]:
    try:
        return diff(actual, table_of(context, before)).summary
    except OperationError:
        return ()


def _change(action: str, kind: str, name: str, detail: str = "") -> ChangeDocument:
    document: ChangeDocument = {"action": action, "kind": kind, "name": name}
    if detail:
        document["detail"] = detail
    return document


def override_documents(overrides: Overrides) -> list[OverrideDocument]:
    """The operator's changes, in the order of services and backends."""
    documents: list[OverrideDocument] = []
    for (service, backend), override in sorted(overrides.items(), key=lambda item: (item[0][0], str(item[0][1]))):
        document: OverrideDocument = {"service": service, "backend": str(backend)}
        if override.admin is not None:
            document["admin"] = override.admin.value
        if override.weight is not None:
            document["weight"] = override.weight
        documents.append(document)
    return documents
