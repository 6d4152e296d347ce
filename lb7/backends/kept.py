"""Kept connections: those to one backend that wait for the next request.

The rule: the most recent one is taken first, so that the rest grow old and end; what no longer fits is handed back to
whoever closes connections. Nothing here touches a socket.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """A bounded stack."""

    __slots__ = ("_stack", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._stack: list[T] = []

    def __len__(self) -> int:
        return len(self._stack)

    def take(self) -> T | None:
        """The most recent one, no longer kept, or None."""
        return self._stack.pop() if self._stack else None

    def keep(self, connection: T) -> T | None:
        """Keeps it; gives the one that has to go for it, or it itself where none is kept at all."""
        if self.limit <= 0:
            return connection
        self._stack.append(connection)
        return self._stack.pop(0) if len(self._stack) > self.limit else None

    def drop(self, connection: T) -> None:
        """Forgets one that ended; one that is not here is no error."""
        if connection in self._stack:
            self._stack.remove(connection)

    def drop_all(self) -> list[T]:
        """Forgets all and gives them, to be closed."""
        stack, self._stack = self._stack, []
        return stack
