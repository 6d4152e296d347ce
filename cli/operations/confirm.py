"""`confirm`: what was applied with `--confirm` stays.

The rule: it and the rollback at the deadline exclude each other by the state directory's lock.
"""

from __future__ import annotations

from cli.operations import confirmation
from cli.operations.context import Context
from cli.operations.documents import ConfirmDocument
from cli.operations.error import OperationError


def confirm(context: Context) -> ConfirmDocument:
    """Ends the wait. Raises OperationError where nothing waits."""
    with context.state.locked():
        found = confirmation.pending(context)
        if found is None:
            raise OperationError("nothing waits for confirmation: no apply with --confirm, or its time is over")
        confirmation.cancel(context, found)
        applied = context.state.applied()
    return {"file": applied.path if applied else None, "seconds_left": round(found.seconds_left, 1)}
