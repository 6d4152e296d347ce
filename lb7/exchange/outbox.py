"""The outbox: what is to be written in this turn of the event loop, written together at its end.

The rule: order is kept, and nothing stays here beyond the turn. A peer that sleeps is woken by the first of many writes
instead of once for each: between two writes of a request at a time it would fall asleep again, which cost a third of
all CPU in the kernel.
"""

from __future__ import annotations

import asyncio

LARGE = 16 * 1024
"""libuv reads one socket up to 32 times in a turn: 8 MiB would wait here before anybody was told to pause."""


class Outbox:
    """One for all connections of a loop."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Writes it at the end of this turn; what is large at once, so that its sender hears of a full buffer."""
        waiting = self._waiting
        if not waiting:
            self._loop.call_soon(self.flush)
        waiting.append((transport, data))
        if len(data) > LARGE:
            self.flush()

    def flush(self) -> None:
        """Writes everything now; a transport that was closed meanwhile gets nothing."""
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            if not transport.is_closing():
                try:
                    transport.write(data)
                except RuntimeError as error:
                    # One that cannot be written to costs the others nothing.
                    transport.abort()
                    self._loop.call_exception_handler({"message": "a write broke", "exception": error})
