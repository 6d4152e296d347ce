"""What the names worker is told.

The rule: it stands apart from the worker, which is run as `__main__` and would know a class of its own by another name.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """The DNS names to look up; resolvers: addresses of name servers, empty takes the system's."""

    names: tuple[str, ...]
    resolvers: tuple[str, ...] = ()
