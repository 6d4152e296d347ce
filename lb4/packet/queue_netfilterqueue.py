"""A packet queue by the NetfilterQueue package: libnetfilter_queue, a packet and a verdict at a time.

The rule: the same as of every PacketQueue; it cannot hand packets to another queue (such are dropped), so it serves
one worker alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lb4.packet.packet_queue import LENGTH, Complain, Handler, QueueError

COPY_LIMIT = 4016
"""NetfilterQueue 1.1.0's receive buffer of 4,096 bytes less the headers (netfilterqueue/_impl.pxd, MaxCopySize)."""
RECEIVE_BUFFER = 64 << 20


class NetfilterQueueQueue:
    """The queue of one worker. See PacketQueue."""

    copy_limit = COPY_LIMIT

    def __init__(
        self, queue: int, handle: Handler, complain: Complain, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """queue: its number. Raises QueueError."""
        from netfilterqueue import COPY_PACKET, NetfilterQueue

        self.failed = 0
        self.cut = 0
        self._handle, self._complain, self._clock = handle, complain, clock
        self._queue: Any = NetfilterQueue()
        try:
            self._queue.bind(queue, self._packet, LENGTH, COPY_PACKET, COPY_LIMIT, RECEIVE_BUFFER)
        except OSError as error:
            raise QueueError(f"packet queue {queue} cannot be had: {error}") from None

    def fileno(self) -> int:
        """Readable when packets wait."""
        return int(self._queue.get_fd())

    def process(self) -> None:
        """Gives a verdict on what waits."""
        self._queue.run(block=False)

    def close(self) -> None:
        """Lets go of the queue."""
        self._queue.unbind()

    def _packet(self, packet: Any) -> None:
        data: bytes = packet.get_payload()
        try:
            outcome = self._handle(data, self._clock())
        except Exception as error:  # noqa: BLE001 a packet without a verdict would stay in the kernel for ever
            self.failed += 1
            self._complain(f"the packet hook failed, the packet was dropped: {error!r}")
            outcome = None
        if len(data) >= COPY_LIMIT:
            self.cut += 1
            packet.drop()
        elif outcome is data:
            packet.accept()
        elif outcome is None or isinstance(outcome, int):
            packet.drop()
        else:
            packet.set_payload(bytes(outcome))
            packet.accept()
