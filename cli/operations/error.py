"""Why an operation was not done, in words for the person who asked.

The rule: it says who did what wrong and what to do; its exit status is 1 (could not be done) or 2 (was asked wrongly).
"""

from __future__ import annotations

from collections.abc import Sequence


class OperationError(Exception):
    """The operation was not done. exit: 1 or 2, the process's exit status. lines: one per error, below the message."""

    def __init__(self, message: str, *, exit: int = 1, lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.exit = exit
        self.lines = tuple(lines)
