"""Flow keys and endpoints: the bytes of addresses and ports as they stand in a packet, and what they mean.

The rule: source address, destination address, source port, destination port, each in network order.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from lb4.address import Endpoint, IPAddress


def key_of(source: Endpoint, destination: Endpoint) -> bytes:
    """The key of packets from source to destination; a missing port is 0."""
    ports = (source.port or 0).to_bytes(2, "big") + (destination.port or 0).to_bytes(2, "big")
    return source.ip.packed + destination.ip.packed + ports


def source_of(key: bytes) -> Endpoint:
    """The endpoint that packets with this key come from."""
    return Endpoint(_ip(key[: (len(key) - 4) // 2]), int.from_bytes(key[-4:-2], "big"))


def destination_of(key: bytes) -> Endpoint:
    """The endpoint that packets with this key go to."""
    return Endpoint(_ip(key[(len(key) - 4) // 2 : -4]), int.from_bytes(key[-2:], "big"))


def turned(key: bytes) -> bytes:
    """The key of the other direction: source and destination change places."""
    size = (len(key) - 4) // 2
    return key[size : 2 * size] + key[:size] + key[-2:] + key[-4:-2]


def _ip(packed: bytes) -> IPAddress:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
