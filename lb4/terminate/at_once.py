"""Writing to a transport without waiting for the end of the event loop's turn.

The rule: what the socket takes now goes by one system call; only what it does not take is the transport's, which keeps
the order and pauses the other side. A transport that is closing is never passed by: its descriptor may be another's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable


def at_once(transport: asyncio.Transport) -> Callable[[bytes], None]:
    """Writes to the transport; through TLS there is no way but the transport's own."""
    sock = transport.get_extra_info("socket")
    if sock is None or not transport.can_write_eof():
        return transport.write
    descriptor = sock.fileno()
    waiting, closing, later = transport.get_write_buffer_size, transport.is_closing, transport.write

    def write(data: bytes) -> None:
        if waiting() or closing():
            later(data)
            return
        try:
            sent = os.write(descriptor, data)
        except OSError:
            # Nothing is taken now, or the connection is gone, which the transport finds out by itself.
            sent = 0
        if sent < len(data):
            later(data[sent:])

    return write
