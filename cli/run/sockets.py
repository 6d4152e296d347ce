"""The sockets where clients of `http` and `terminate` listeners arrive, opened and kept by the supervisor.

The rule: one SO_REUSEPORT socket per bind, port and worker, kept open while the listener is; a worker that dies or is
replaced leaves its accept queue to the next one, so no connection is lost.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Mapping

from lb4.address import Bind
from lb4.model import Listener, Protocol

BACKLOG = 4096


class BindError(Exception):
    """A listener's address cannot be bound: the message names listener and address, and says why."""


def ports_of(listener: Listener) -> tuple[Bind, ...]:
    """The listener's binds with every range taken apart into single ports."""
    return tuple(Bind(bind.ip, p, p) for bind in listener.binds for p in range(bind.first, bind.last + 1))


def open_sockets(listener: Listener, binds: Iterable[Bind], workers: int) -> tuple[dict[Bind, socket.socket], ...]:
    """For each worker a socket for each of the binds. Raises BindError, leaving none open."""
    opened: tuple[dict[Bind, socket.socket], ...] = tuple({} for _ in range(workers))
    try:
        for bind in binds:
            for sockets in opened:
                sockets[bind] = _open(listener, bind)
    except BindError:
        close_sockets(opened)
        raise
    return opened


def close_sockets(opened: Iterable[Mapping[Bind, socket.socket]]) -> None:
    """Closes them all."""
    for sockets in opened:
        for sock in sockets.values():
            sock.close()


def _open(listener: Listener, bind: Bind) -> socket.socket:
    family = socket.AF_INET if bind.family == "ip" else socket.AF_INET6
    kind = socket.SOCK_STREAM if listener.protocol is Protocol.TCP else socket.SOCK_DGRAM
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((str(bind.ip), bind.first))
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise BindError(f"listener {listener.name}: cannot bind {bind}: {_why(error, bind)}") from None
    return sock


def _why(error: OSError, bind: Bind) -> str:
    if error.errno == errno.EACCES:
        return f"a port below 1024 takes root or CAP_NET_BIND_SERVICE (this is user {os.geteuid()})"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this host has no address {bind.ip}"
    if error.errno == errno.EADDRINUSE:
        return "another program listens there"
    return os.strerror(error.errno or 0)
