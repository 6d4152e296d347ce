"""Packets as they pass the interfaces of this network namespace, in and out: a packet socket.

The rule: nothing of the host is changed; the socket is all there is, and it goes with the process however that ends.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from struct import Struct

from cli.trace.packet_filter import program
from cli.trace.sighting import Sighting
from lb4.address import IPAddress
from lb4.socket_filter import attach

ETH_P_ALL = 3
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
PACKET_HOST, PACKET_OTHERHOST, PACKET_OUTGOING = 0, 3, 4
SO_TIMESTAMPNS, SO_RCVBUFFORCE = 35, 33
RECEIVE_BUFFER = 32 << 20
LENGTH_MAX = 65536 + 256
LOOPBACK = "lo"
_TIME = Struct("=qq")


class Capture:
    """An open packet socket. Raises PermissionError without CAP_NET_RAW."""

    def __init__(self, addresses: Iterable[IPAddress]) -> None:
        """addresses: packets from or to these are wanted, and perhaps some others come."""
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        code = program(addresses)
        if code is not None:
            attach(self._socket.fileno(), code)

    def fileno(self) -> int:
        """Readable when packets wait."""
        return self._socket.fileno()

    def close(self) -> None:
        """Ends the capture."""
        self._socket.close()

    def waiting(self) -> Iterator[Sighting]:
        """The packets that wait now."""
        while True:
            try:
                data, ancillary, _, address = self._socket.recvmsg(LENGTH_MAX, 64, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            interface, protocol, kind, *_ = address
            if protocol in (ETH_P_IP, ETH_P_IPV6) and kind in (PACKET_HOST, PACKET_OUTGOING):
                yield Sighting(_time_of(ancillary), interface, kind == PACKET_OUTGOING, data)


def _time_of(ancillary: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIME.unpack_from(data)
            return float(seconds + nanoseconds / 1e9)
    return time.time()
