"""Turns the errors of the layers below into the one error that commands know.

The rule: what a person can mend is an OperationError with its exit status; what is a defect of lbctl passes as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cli.operations.error import OperationError
from cli.state import StateError
from lb4.conntrack.table import ConntrackError
from lb4.kernel.interface import KernelError


@contextmanager
def told() -> Iterator[None]:
    """Raises OperationError (exit 1) for what the kernel or the state directory refused."""
    try:
        yield
    except (KernelError, ConntrackError, StateError) as error:
        raise OperationError(str(error)) from None
