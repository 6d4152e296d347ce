"""`refresh`: brings the kernel in line with what is in force now, after checks found something else of a backend.

The rule: the file stays as it was applied; nothing is written but to the kernel.
"""

from __future__ import annotations

from cli.operations.context import Context
from cli.operations.documents import RefreshDocument
from cli.operations.transition import commit, settle, table_of
from cli.operations.wanted import in_force


def refresh(context: Context, *, sweep: bool = False) -> RefreshDocument:
    """One transaction where something is to be changed. Raises OperationError.

    sweep: flows that point to what is no longer there are looked for, and ended, also where nothing is to be changed.
    """
    with context.state.locked():
        found = in_force(context)
        if found is None:
            return {"changed": False, "ended": 0}
        changed = bool(commit(context, table_of(context, found.balancer)).transaction)
        if not changed and not sweep:
            return {"changed": False, "ended": 0}
        flows = settle(context, [found.balancer], found.balancer)
    return {"changed": changed, "ended": flows.ended}
