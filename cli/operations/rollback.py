"""`rollback`: back to what was in force before.

The rule: it is an apply of the remembered text, so a second rollback undoes the first.
"""

from __future__ import annotations

from collections.abc import Sequence

from cli.operations import confirmation
from cli.operations.apply import bring_into_force, recover
from cli.operations.context import Context
from cli.operations.documents import ApplyDocument
from cli.operations.error import OperationError
from cli.operations.wanted import InForce, configured
from cli.state import Remembered

NOTHING = Remembered("version: 1\n", "")
"""What is in force where nothing is: a configuration without listeners."""


def rollback(context: Context, *, unconfirmed: bool = False) -> ApplyDocument | None:
    """Brings the previous configuration into force. Raises OperationError where there is none.

    unconfirmed: asked by the process that waited for `lbctl confirm`. It goes back to nothing where nothing was
    before. None, and nothing is done, where the apply was confirmed after all, or has brought nothing new into force.
    """
    with context.state.locked():
        waiting = confirmation.pending(context)
        if unconfirmed and waiting is None:
            return None
        # An apply that was killed is finished or given up first: only then is the previous configuration known.
        befores = recover(context)
        previous = context.state.previous()
        undone = waiting is not None and not confirmation.is_without_effect(context, waiting)
        if previous is None and not undone and not unconfirmed:
            raise OperationError(_no_previous(context))
        document = _back_to(context, previous, befores) if undone or not unconfirmed else None
        if waiting is not None:
            (confirmation.forget(context) if unconfirmed else confirmation.cancel(context, waiting))
        return document


def _back_to(context: Context, previous: Remembered | None, befores: Sequence[InForce]) -> ApplyDocument:
    if previous is not None:
        return bring_into_force(context, previous, configured(previous), befores)
    document = bring_into_force(context, NOTHING, configured(NOTHING), befores)
    context.state.forget()
    return {**document, "file": None}


def _no_previous(context: Context) -> str:
    if context.state.applied() is None:
        return "nothing was ever applied here, so there is nothing to go back to"
    return "nothing was in force before this, so there is nothing to go back to; `lbctl flush` removes it all"
