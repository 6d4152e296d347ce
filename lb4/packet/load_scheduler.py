"""A user's own scheduler: `python:module:function` found by name.

The rule: the module is looked for where Python looks and beside the configuration file, and nowhere else.
"""

from __future__ import annotations

import importlib
import sys

from lb4.packet.decision import SchedulerFailed
from lb4.packet.picks import UsersPick


def load_scheduler(module: str, function: str) -> UsersPick:
    """The function of that name. Raises SchedulerFailed where there is none, and whatever the module raises."""
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SchedulerFailed(f"scheduler python:{module}:{function} cannot be loaded: {error}") from None
    if not callable(found):
        raise SchedulerFailed(f"scheduler python:{module}:{function} is no function")
    return found  # type: ignore[no-any-return]


def look_beside(directory: str) -> None:
    """Makes modules in a directory found."""
    if directory and directory not in sys.path:
        sys.path.append(directory)
