"""The reconciler: notices at once when somebody else changes lbctl's table, tells, and mends it where that is wanted.

The rule: it looks at most once in QUIET seconds, so that a program that fights over the table costs little; what it
mends is one transaction of `refresh`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cli.operations.context import Context
from cli.operations.drift import drift
from cli.operations.error import OperationError
from cli.operations.refusal import told
from cli.run.log import event, remembered
from lb4.nft.events import TableEvents, Touched

QUIET = 1.0
"""Seconds between two looks."""
SWEEP = 30.0
"""Seconds between two searches for flows that point to what is no longer there."""
SHOWN = 6

Aside = Callable[[Callable[[], tuple[str, ...]]], Awaitable[tuple[str, ...]]]
"""Does something in the thread of the operations, between two of them."""


class Reconciler:
    """Watches the table of one network namespace."""

    def __init__(
        self, context: Context, aside: Aside, mend: Callable[[bool], Awaitable[int]], mends: Callable[[], bool]
    ) -> None:
        """mend: puts the kernel right; with True it also ends stale flows where nothing is to be put right, and says
        how many. mends: whether drift is to be mended.
        """
        self._loop = asyncio.get_running_loop()
        self._context = context
        self._aside = aside
        self._mend = mend
        self._mends = mends
        self._events: TableEvents | None = None
        self._by = Touched()
        self._touched = asyncio.Event()
        self._known: tuple[str, ...] = ()
        self.seen = 0
        self.mended = 0

    @property
    def drifted(self) -> bool:
        """Whether the table was not as it shall be when it was last looked at."""
        return bool(self._known)

    def listen(self) -> None:
        """Begins to listen, if it has not; without the right to, it does not."""
        if self._events is None:
            try:
                self._events = TableEvents()
            except OSError as error:
                event(logging.WARNING, "changes by others go unnoticed", why=error.strerror)
                return
            self._loop.add_reader(self._events.fileno(), self._readable)

    def close(self) -> None:
        """Listens no more."""
        if self._events is not None:
            self._loop.remove_reader(self._events.fileno())
            self._events.close()

    def _readable(self) -> None:
        assert self._events is not None
        touches = self._events.read(self._context.kernel.ports)
        if touches:
            self._by = touches[-1]
            self.seen += len(touches)
            self._touched.set()

    async def watch(self) -> None:
        """Looks after each touch of somebody else, for ever."""
        while True:
            await self._touched.wait()
            self._touched.clear()
            try:
                await self._look()
            except OperationError as error:
                event(logging.ERROR, "drift could not be looked at or mended", error=error)
            await asyncio.sleep(QUIET)

    async def sweep(self) -> None:
        """Ends flows that point to what is no longer there, every SWEEP seconds, for ever."""
        while True:
            await asyncio.sleep(SWEEP)
            try:
                ended = await self._mend(True) if self._mends() or not self.drifted else 0
            except OperationError as error:
                event(logging.ERROR, "stale flows could not be ended", error=error)
                continue
            if ended:
                remembered(logging.WARNING, "stale", "flows to what is no longer there were ended", ended=ended)

    async def _look(self) -> None:
        what = await self._aside(self._drift)
        news, self._known = what != self._known, what
        if not what:
            return
        mends = self._mends()
        if news or mends:
            shown = ", ".join(what[:SHOWN]) + (f" and {len(what) - SHOWN} more" if len(what) > SHOWN else "")
            words = "somebody else changed lbctl's table"
            remembered(logging.WARNING, "drift", words, by=str(self._by), what=shown, mended=mends)
        if mends:
            await self._mend(False)
            self._known = ()
            self.mended += 1

    def _drift(self) -> tuple[str, ...]:
        with told():
            return drift(self._context)

    def put_right(self) -> None:
        """An operation has brought the kernel in line."""
        self._known = ()
