"""What others do to our table: nf_tables' own events, as the kernel multicasts them after each transaction.

The rule: it only listens. A change is told with who made it; our own are known by the port of the socket that made
them (nf_tables_api.c: the header of an event bears the port of the request), so nothing rests on names or times.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from lb4.netlink.attributes import number, parse, text_of
from lb4.netlink.socket import HEADER, HEADER_SIZE, NETLINK_NETFILTER, SO_RCVBUFFORCE, SOL_NETLINK
from lb4.nft import message as m

ADD_MEMBERSHIP = 1
GROUP = 7
"""NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h)"""
NEWGEN = 15
GENERATION_PROCESS, GENERATION_NAME = 2, 3
"""NFTA_GEN_PROC_PID, NFTA_GEN_PROC_NAME"""
TABLE = 1
"""NFTA_*_TABLE, and NFTA_TABLE_NAME: the attribute that names the table is the first of every object."""
RECEIVE = 1 << 18
BUFFER = 4 << 20


@dataclass(frozen=True, slots=True)
class Touched:
    """Another process changed our table: its name and id, empty and 0 where events were lost."""

    process: str = ""
    pid: int = 0

    def __str__(self) -> str:
        return f"{self.process} (pid {self.pid})" if self.pid else "unknown"


class TableEvents:
    """The events of one network namespace's nf_tables, as far as they are about one table."""

    def __init__(self, table: str = "lbctl") -> None:
        """Opens the socket. Raises OSError."""
        self._table = table
        self._touched_by: int | None = None
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETLINK_NETFILTER
        )
        self._socket.bind((0, 0))
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._socket.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, GROUP)

    def fileno(self) -> int:
        """For an event loop: readable when events wait."""
        return self._socket.fileno()

    def close(self) -> None:
        """Listens no more."""
        self._socket.close()

    def read(self, ours: Collection[int]) -> list[Touched]:
        """The transactions of others that touched the table, of all that waits now. ours: ports of our own sockets."""
        found: list[Touched] = []
        while True:
            try:
                data = self._socket.recv(RECEIVE)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                found.append(Touched())
                continue
            found += self._touches(data, ours)

    def _touches(self, data: bytes, ours: Collection[int]) -> Iterator[Touched]:
        at = 0
        while at + HEADER_SIZE <= len(data):
            length, kind, _, _, port = HEADER.unpack_from(data, at)
            body = data[at + HEADER_SIZE : at + length]
            at += max((length + 3) & ~3, HEADER_SIZE)
            if kind >> 8 != m.SUBSYSTEM or port in ours:
                continue
            if kind & 0xFF != NEWGEN:
                if text_of(parse(body, 4).get(TABLE, b"")) == self._table:
                    self._touched_by = port
            elif self._touched_by == port:
                self._touched_by = None
                about = parse(body, 4)
                name = text_of(about.get(GENERATION_NAME, b""))
                yield Touched(name, number(about.get(GENERATION_PROCESS, b"")))
