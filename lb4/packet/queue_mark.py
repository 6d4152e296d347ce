"""A packet queue for first packets: their headers come, their mark goes back.

The rule: nobody waits for us: a full queue lets packets on unmarked (NFQA_CFG_F_FAIL_OPEN), and so does a handler that
raises.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from struct import Struct

from lb4.packet import queue_message as nfq
from lb4.packet.packet_queue import Complain
from lb4.packet.queue_netlink import BATCH, ROUNDS, bound
from lb4.packet.receive_many import ReceiveMany

COPY = 256
"""Enough for the headers of TCP over IPv6 with extension headers."""
MESSAGE_MAX = COPY + 512
_MARK = Struct("!I")

MarkHandler = Callable[[bytes, int, float], int | None]
"""A packet's headers, its mark and the time: the mark it shall have, None to leave it."""


class MarkQueue:
    """The queue of first packets."""

    def __init__(
        self, queue: int, handle: MarkHandler, complain: Complain, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """queue: its number. Raises QueueError."""
        self.failed = 0
        self._handle, self._complain, self._clock = handle, complain, clock
        self._verdicts = nfq.Verdicts(queue)
        self._socket = bound(queue, COPY, nfq.F_FAIL_OPEN)
        self._many = ReceiveMany(self._socket.fileno(), BATCH, MESSAGE_MAX)

    def fileno(self) -> int:
        """Readable when packets wait."""
        return self._socket.fileno()

    def close(self) -> None:
        """Lets go of the queue: rules with bypass go on without it."""
        self._socket.close()

    def process(self) -> None:
        """Gives a verdict on what waits. Raises OSError where the socket broke."""
        for _ in range(ROUNDS):
            lengths = self._many.receive()
            now = self._clock()
            batch = zip(self._many.buffers, lengths, strict=False)
            answers = [self._verdict(bytes(buffer[:length]), now) for buffer, length in batch]
            if any(answers):
                self._socket.send(b"".join(answers))
            if len(lengths) < BATCH:
                return

    def _verdict(self, message: bytes, now: float) -> bytes:
        if nfq.kind_of(message) != nfq.PACKET:
            return b""
        end = len(message)
        payload, marked = (nfq.attribute_at(message, end, kind) for kind in (nfq.A_PAYLOAD, nfq.A_MARK))
        mark = int(_MARK.unpack_from(message, marked[0])[0]) if marked else 0
        packet, data = message[nfq.ID], message[slice(*payload)] if payload else b""
        try:
            new = self._handle(data, mark, now)
        except Exception as error:  # noqa: BLE001 a packet without a verdict would stay in the kernel for ever
            self.failed += 1
            self._complain(f"the first-packet hook failed, the kernel picks: {error!r}")
            new = None
        return self._verdicts.plain(nfq.NF_ACCEPT, packet) if new is None else self._verdicts.accept_marked(packet, new)
