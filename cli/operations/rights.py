"""Whether an operation takes root.

The rule: who asks no kernel takes no root. What is in force and the file, where the operation has one, are both looked
at; where neither is known, a kernel might hold something.
"""

from __future__ import annotations

from collections.abc import Mapping

from cli.operations.context import state_directory
from cli.operations.error import OperationError
from cli.operations.wanted import configured
from cli.state import Remembered, State, StateError


def asks_the_kernel(environment: Mapping[str, str], file: Remembered | None) -> bool:
    """Whether some listener in force, or of the file, is the kernel's, or may be: what cannot be read may."""
    try:
        known = [each for each in (file, State(state_directory(environment)).applied()) if each is not None]
        return not known or any(configured(each).needs_kernel for each in known)
    except (OperationError, StateError):
        return True
