"""What the supervisor tells a worker that serves HTTP.

The rule: values and bytes alone: a worker has no rights to read a file, and imports nothing to be told what to do.
"""

from __future__ import annotations

from dataclasses import dataclass

from lb7.files import Files
from lb7.model import HttpBalancer


@dataclass(frozen=True, slots=True)
class HttpPart:
    """The whole configuration, the contents of the files it names, and how many workers share it."""

    balancer: HttpBalancer
    files: Files
    workers: int = 1
