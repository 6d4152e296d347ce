"""Drift: whether the kernel's table is what was brought into force.

The rule: it reads and changes nothing; it goes by the same diff as `apply`.
"""

from __future__ import annotations

from cli.operations.context import Context
from cli.operations.transition import difference, table_of
from cli.operations.wanted import EMPTY, in_force


def drift(context: Context) -> tuple[str, ...]:
    """What would have to be changed to mend it, such as `add rule nat-web-4`. Raises OperationError, KernelError."""
    found = in_force(context)
    balancer = EMPTY if found is None else found.balancer
    summary = difference(context, table_of(context, balancer)).transaction.summary
    return tuple(f"{change.action} {change.kind} {change.name}" for change in summary)
