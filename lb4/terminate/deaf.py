"""A UDP socket that hears nobody while there is nobody to pass datagrams on to.

The rule: the kernel answers for it: a datagram that finds no socket is answered port-unreachable at once (RFC 1122
section 4.1.3.1), and a socket connected to itself is found by nobody else's datagrams. It stays bound, so nobody else
takes the port (given that it was bound to one, not to any), and it needs no privilege and no word to the supervisor.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct

AF_UNSPEC = struct.pack("=H14x", socket.AF_UNSPEC)

_libc = ctypes.CDLL(None, use_errno=True)


def is_deaf(sock: socket.socket) -> bool:
    """Whether it is, maybe since another process had it."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def deafen(sock: socket.socket) -> None:
    """From now on every datagram to it is answered port-unreachable."""
    sock.connect(sock.getsockname())


def undeafen(sock: socket.socket) -> None:
    """It hears everybody again: a connection to AF_UNSPEC ends one (connect(2)). Raises OSError."""
    if _libc.connect(sock.fileno(), AF_UNSPEC, len(AF_UNSPEC)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
