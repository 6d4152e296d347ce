"""What crosses a wire while a block runs: TCP packets as the kernel hands them to a packet socket.

The rule: it only looks; addresses are read from the packets themselves (RFC 791 section 3.1, RFC 9293 section 3.1).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

from cli.lab import namespaces
from lb4.address import Endpoint

ETH_P_ALL = 0x0003
ETHERNET_HEADER = 14
ETHERTYPE_IPV4 = 0x0800
TCP = 6
FLAGS = "FSRPAU"
QUIET = 1.0
"""Seconds without a packet after which a capture is over."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A TCP packet on a wire: from where to where, its flags (`S`, `SA`, `PA`, …), its payload's length in bytes."""

    source: Endpoint
    target: Endpoint
    flags: str
    payload: int


class Capture:
    """The packets of one interface."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def packets(self) -> list[Seen]:
        """What was seen so far, when it has been quiet for a moment."""
        self._socket.settimeout(QUIET)
        found: list[Seen] = []
        while True:
            try:
                frame = self._socket.recv(65536)
            except TimeoutError:
                return found
            seen = parsed(frame)
            found += [seen] if seen is not None else []


@contextmanager
def capturing(namespace: str, interface: str) -> Iterator[Capture]:
    """A capture of what passes the interface of a namespace, from now on."""
    with namespaces.inside(namespace):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind((interface, ETH_P_ALL))
        yield Capture(sock)


def parsed(frame: bytes) -> Seen | None:
    """The TCP packet in an Ethernet frame, None where it holds none."""
    packet = frame[ETHERNET_HEADER:]
    if int.from_bytes(frame[12:14], "big") != ETHERTYPE_IPV4 or len(packet) < 40 or packet[9] != TCP:
        return None
    head = (packet[0] & 0xF) * 4
    total = int.from_bytes(packet[2:4], "big")
    source, target = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
    sport, dport, _, _, offset, bits = struct.unpack_from("!HHIIBB", packet, head)
    flags = "".join(name for bit, name in enumerate(FLAGS) if bits >> bit & 1)
    return Seen(Endpoint(source, sport), Endpoint(target, dport), flags, total - head - (offset >> 4) * 4)
