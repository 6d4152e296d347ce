"""Packets put on a wire and taken from it: packet sockets at the client's and the first server's interface."""

from __future__ import annotations

import json
import select
import socket
import time
from struct import pack

from scapy.packet import Packet

from tests.packet.cases import parsed
from tests.packet.network import Network, run

ETH_P_ALL = 3
SECONDS = 2.0


class Wire:
    """One end of a link: what its node sends to the balancer, and what it gets."""

    def __init__(self, net: Network, node: str, balancer_device: str) -> None:
        with net.inside(node):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind(("eth0", ETH_P_ALL))
        own, other = _mac(net, node, "eth0"), _mac(net, "lb", balancer_device)
        self._addresses = other + own

    def send(self, data: bytes) -> None:
        kind = 0x86DD if data[0] >> 4 == 6 else 0x0800
        self._socket.send(self._addresses + pack("!H", kind) + data)

    def clear(self) -> None:
        while select.select([self._socket], [], [], 0)[0]:
            self._socket.recv(65536)

    def receive(self, wanted: Packet) -> bytes | None:
        """The next IP packet of the same transport protocol that came in, None where none does."""
        end = time.monotonic() + SECONDS
        while (left := end - time.monotonic()) > 0 and select.select([self._socket], [], [], left)[0]:
            data, address = self._socket.recvfrom(65536)
            if address[2] != socket.PACKET_OUTGOING and address[1] in (0x0800, 0x86DD):
                packet = parsed(data[14:])
                if packet.version == wanted.version and _kind(packet) == _kind(wanted):
                    return data[14 : 14 + length_of(data[14:])]
        return None

    def close(self) -> None:
        self._socket.close()


def _kind(packet: Packet) -> str:
    return str(packet.lastlayer().name if packet.payload.name == "Raw" else packet.payload.name)


def length_of(data: bytes) -> int:
    """Without Ethernet's padding."""
    return int.from_bytes(data[2:4], "big") if data[0] >> 4 == 4 else 40 + int.from_bytes(data[4:6], "big")


def _mac(net: Network, node: str, device: str) -> bytes:
    found = json.loads(run("ip", "-n", net.name(node), "-j", "link", "show", device))
    return bytes.fromhex(found[0]["address"].replace(":", ""))
