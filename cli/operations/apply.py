"""`apply`: makes a file's configuration be in force, in one kernel transaction, then ends what it leaves stale.

The rule: what can fail fails before the commit; killed at any moment, it leaves the old or the new state, and the
next apply finishes what was begun.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli.operations import confirmation
from cli.operations.context import Context
from cli.operations.documents import ApplyDocument
from cli.operations.error import OperationError
from cli.operations.lingering import lingering
from cli.operations.plan import change_documents, override_documents
from cli.operations.transition import Unsettled, ask_for_flows, commit, difference, settle, table_of
from cli.operations.wanted import InForce, before, configured, relevant, wanted
from cli.operations.warn import warnings_of
from cli.state import Remembered

if TYPE_CHECKING:
    from cli.config.model import Configuration


def apply(context: Context, *, path: str, text: str, confirm: float | None = None) -> ApplyDocument:
    """Brings the text of the file at path into force. confirm: seconds after which it is undone by itself.

    Raises OperationError: exit 2 where the text does not validate, 1 where it could not be done; then nothing changed.
    """
    if confirm is not None and confirm <= 0:
        raise OperationError("--confirm takes a time to wait for `lbctl confirm`, such as 60s", exit=2)
    remembered = Remembered(text, path)
    configuration = configured(remembered)
    with context.state.locked():
        confirmation.refuse_while_pending(context)
        befores = recover(context, configuration)
        with confirmation.awaited(context, confirm):
            return bring_into_force(context, remembered, configuration, befores, confirm)


def bring_into_force(
    context: Context,
    remembered: Remembered,
    configuration: Configuration,
    befores: Sequence[InForce],
    confirm: float | None = None,
) -> ApplyDocument:
    """The same for a configuration that was validated, under the lock of the state directory. befores: see recover."""
    after = wanted(context, configuration.balancer)
    balancers = [each.balancer for each in befores]
    with lingering(context, balancers, after):
        table = table_of(context, after)
        ask_for_flows(context, (*balancers, after))
        if context.runtime is not None:
            context.runtime.prepare(configuration)
        with remembering(context, remembered):
            changed = commit(context, table)
            flows = settle(context, balancers, after)
    overrides = relevant(context.state.overrides(), after)
    return {
        "changes": change_documents(context, befores[0], configuration, after, changed),
        "flows": {"kept": flows.kept, "ended": flows.ended},
        "overrides": override_documents(overrides),
        "warnings": warnings_of(context, configuration),
        "file": remembered.path,
        "confirm": confirm,
    }


@contextmanager
def remembering(context: Context, remembered: Remembered) -> Iterator[None]:
    """Notes what is being brought into force, and once it is, that it is; what is so already is left as it is."""
    if context.state.applied() == remembered:
        yield
        return
    context.state.begin(remembered)
    try:
        yield
    except Unsettled:
        context.state.finish()
        raise
    except BaseException:
        context.state.abandon()
        raise
    context.state.finish()


def recover(context: Context, known: Configuration | None = None) -> list[InForce]:
    """All that may have flows: first what is in force, then what an interrupted apply was to replace.

    Of an apply that was killed, the kernel has all or nothing: the state directory is brought in line with it.
    """
    now, interrupted = before(context, known), context.state.next()
    if interrupted is None:
        return [now]
    try:
        meant = configured(interrupted)
        leftover = InForce(interrupted, meant, wanted(context, meant.balancer))
        committed = not difference(context, table_of(context, leftover.balancer)).transaction
    except OperationError:
        context.state.abandon()
        return [now]
    if committed:
        context.state.finish()
        return [leftover, now]
    context.state.abandon()
    return [now, leftover]
