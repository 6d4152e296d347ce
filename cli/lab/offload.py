"""What a virtual cable leaves undone: checksums, segments, and how to make it do them.

The rule: a lab shows packets as a wire has them. A veth pair hands over packets larger than its MTU whose checksums
nobody has filled in yet, which is fast and looks broken in a capture, so it is turned off; the
bench leaves it on, as a host would have it.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct

# linux/sockios.h, linux/ethtool.h
SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17
ETHTOOL_STSO = 0x1F
ETHTOOL_SGSO = 0x24
ETHTOOL_SGRO = 0x2C

# checksums last: the kernel turns off segmentation by itself when they go, and would answer the other order with EINVAL
ORDER = (ETHTOOL_SGRO, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_STXCSUM)


def turn_off(interface: str) -> None:
    """Turns the interface's checksum and segmentation offloads off. Its namespace is the calling thread's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for command in ORDER:
            _set(asked, interface, command, 0)


def _set(asked: socket.socket, interface: str, command: int, value: int) -> None:
    wanted = ctypes.create_string_buffer(struct.pack("=II", command, value), 8)
    request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(wanted))
    fcntl.ioctl(asked, SIOCETHTOOL, request)
