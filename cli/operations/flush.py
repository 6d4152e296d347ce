"""`flush`: removes all that lbctl put into the kernel, and nothing else.

The rule: nothing is in force afterwards; what was is the previous configuration, to which `rollback` returns.
"""

from __future__ import annotations

from cli.operations import confirmation
from cli.operations.context import Context
from cli.operations.documents import FlushDocument
from cli.operations.transition import commit


def flush(context: Context) -> FlushDocument:
    """Removes the table, if there is one. Flows that are tracked run on until they end."""
    with context.state.locked():
        waiting = confirmation.pending(context)
        if waiting is not None:
            confirmation.cancel(context, waiting)
        removed = commit(context, None)
        context.state.retire()
    return {"removed": bool(removed.transaction)}
