"""How much a peer has still to take: what tells a slow one from one that does nothing.

The rule: it looks at the socket and changes nothing.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios


def unsent(transport: asyncio.Transport) -> int:
    """Bytes that were written and that the peer did not take yet, here and in the kernel (tcp(7), SIOCOUTQ)."""
    sock = transport.get_extra_info("socket")
    # TLS has no socket any more once its connection is lost.
    descriptor = -1 if sock is None else sock.fileno()
    if descriptor < 0:
        return 0
    (queued,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))
    return int(queued) + transport.get_write_buffer_size()
