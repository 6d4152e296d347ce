"""Sockets towards backends whose source address is the client's own.

The rule: the kernel lets a socket have an address that is not the host's (IP_TRANSPARENT, ip(7); IPV6_TRANSPARENT,
linux/in6.h) for who has CAP_NET_ADMIN; the port is the kernel's choice. A client of the other family has no address
that this backend could see, so it gets the balancer's.
"""

from __future__ import annotations

import socket

from lb4.address import Endpoint

IP_TRANSPARENT = 19
IPV6_TRANSPARENT = 75
IP_BIND_ADDRESS_NO_PORT = 24
FAMILIES = {"ip": socket.AF_INET, "ip6": socket.AF_INET6}


def as_client(kind: socket.SocketKind, client: Endpoint, backend: Endpoint) -> socket.socket | None:
    """A socket bound to the client's address, None where the families differ. Raises OSError."""
    if client.family != backend.family:
        return None
    sock = socket.socket(FAMILIES[client.family], kind | socket.SOCK_NONBLOCK)
    try:
        if client.family == "ip":
            sock.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
        # The port is chosen when it is known for which backend: 28,000 for each of them, not for all together.
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((str(client.ip), 0))
    except OSError:
        sock.close()
        raise
    return sock
