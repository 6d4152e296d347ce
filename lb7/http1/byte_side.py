"""The bytes of a client's connection: held back while the other side is slow, and ended so that nothing is lost.

The rule: pausing and ending look only at bytes and the transport, never at what the bytes mean.
"""

from __future__ import annotations

import asyncio
from typing import cast

from lb4.unsent import unsent
from lb7.exchange.outbox import Outbox

JOIN_LIMIT = 16 * 1024
"""Up to so many bytes it is cheaper to copy content behind its head than to hand the kernel two pieces."""
LINGER_BYTES = 1024 * 1024
"""What a client may still send after it was refused, so that it reads the answer before the reset."""


class ByteSide(asyncio.Protocol):
    """A transport that can be paused, and closed in the three ways a proxy needs."""

    __slots__ = ("_lingering", "_outbox", "_paused", "_transport", "_unsent", "is_closed", "write_paused")

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._lingering = self._unsent = 0
        self._paused = False
        self.write_paused = False
        self.is_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        # uvloop's transports are asyncio's in all but their class.
        self._transport = cast(asyncio.Transport, transport)

    def address(self, which: str) -> tuple[str, int]:
        """The `peername` or the `sockname`."""
        host, port, *_ = self._transport.get_extra_info(which)
        return str(host), int(port)

    def write_joined(self, head: bytes, content: bytes) -> None:
        """Sends the one behind the other."""
        if len(content) <= JOIN_LIMIT:
            self._outbox.write(self._transport, head + content)
        else:
            self._outbox.write(self._transport, head)
            self._outbox.write(self._transport, content)

    def takes(self) -> bool:
        """Whether the peer, slow as it is, took bytes since this was last asked."""
        before, self._unsent = self._unsent, unsent(self._transport)
        return 0 < self._unsent != before

    def pause_reading(self) -> None:
        """Reads no more until resume_reading."""
        if not self._paused and not self.is_closed:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Reads again."""
        if self._paused and not self.is_closed:
            self._paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        """Ends it once what was written is sent."""
        self._outbox.flush()
        self._transport.close()

    def abort(self) -> None:
        """Ends it now, with a reset where bytes are left unread or unsent."""
        self._outbox.flush()
        self._transport.abort()

    def half_close(self) -> bool:
        """Says that nothing more will be sent, where the transport can; the client may still send."""
        if self.is_closed or not self._transport.can_write_eof():
            return False
        self._outbox.flush()
        self._transport.write_eof()
        return True

    def linger(self) -> bool:
        """Half-closes and reads on without looking, up to LINGER_BYTES; False where the transport cannot."""
        if not self.half_close():
            return False
        self._lingering = LINGER_BYTES
        self.resume_reading()
        return True

    def lingered(self, size: int) -> None:
        """So many bytes came after the answer."""
        self._lingering -= size
        if self._lingering <= 0:
            self._transport.abort()
