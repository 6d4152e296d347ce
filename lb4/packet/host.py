"""What packet mode needs to know of the host it runs on, and the one setting it makes.

The rule: everything is of the network namespace of the calling thread.
"""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from struct import Struct

from lb4.address import IPAddress
from lb4.model import Balancer

SIOCGIFMTU = 0x8921
_INTERFACE = Struct("16si20x")
LOOPBACK = "lo"
CONFIGURATION = Path("/proc/sys/net/ipv4/conf")
QUEUES = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")


class HostUnfit(Exception):
    """Packet mode cannot run here: the message says what is in its way and what to do."""


def source_towards(ip: IPAddress) -> IPAddress | None:
    """The balancer's own address that the routing table prefers towards an address, None where there is no route."""
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(ip), 9))
        except OSError:
            return None
        return type(ip)(probe.getsockname()[0])


def routes_of(balancer: Balancer) -> dict[IPAddress, IPAddress]:
    """By backend address the balancer's own towards it; backends without a route are left out."""
    backends = {b.endpoint.ip for service in balancer.services.values() for b in service.backends}
    found = {ip: source_towards(ip) for ip in backends}
    return {ip: source for ip, source in found.items() if source is not None}


def mtus() -> dict[str, int]:
    """By interface its MTU in bytes, the loopback left out: no packet of packet mode goes there."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            if name == LOOPBACK:
                continue
            # One that was listed may be gone by now.
            with suppress(OSError):
                answer = fcntl.ioctl(sock, SIOCGIFMTU, _INTERFACE.pack(name.encode(), 0))
                found[name] = int(_INTERFACE.unpack(answer)[1])
    return found


def check_mtus(limit: int, found: dict[str, int]) -> None:
    """Raises HostUnfit where packets may be longer than what the queue copies: they could not be rewritten."""
    long = {name: mtu for name, mtu in found.items() if mtu > limit}
    if long:
        named = ", ".join(f"{name} (MTU {mtu})" for name, mtu in sorted(long.items()))
        raise HostUnfit(
            f"mode packet: the packet queue copies at most {limit} bytes of a packet, and {named} lets longer ones in;"
            f" lower it: ip link set {min(long)} mtu {limit}"
        )


def make_fit(limit: int) -> bool:
    """Everything that packet mode needs of the host, before it is brought into force. limit: see check_mtus.

    Returns whether a setting was changed. Raises HostUnfit.
    """
    check_mtus(limit, mtus())
    return allow_own_sources()


def allow_own_sources() -> bool:
    """Lets packets in whose source is the balancer's own address, as requests have it once they are rewritten.

    The kernel drops such packets as martians unless net.ipv4.conf.all.accept_local is 1. Returns whether it had to be
    set. Raises HostUnfit where strict reverse path filtering drops them all the same.
    """
    strict = [name for name in _interfaces() if max(_read("all", "rp_filter"), _read(name, "rp_filter")) == 1]
    if strict:
        raise HostUnfit(
            "mode packet: strict reverse path filtering drops rewritten packets; make it loose: "
            f"sysctl -w net.ipv4.conf.all.rp_filter=2 (now strict: {', '.join(strict)})"
        )
    if _read("all", "accept_local"):
        return False
    try:
        (CONFIGURATION / "all" / "accept_local").write_text("1")
    except OSError as error:
        raise HostUnfit(f"mode packet: net.ipv4.conf.all.accept_local must be 1: {error.strerror}") from None
    return True


def _interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex() if name != LOOPBACK]


def _read(interface: str, name: str) -> int:
    try:
        return int((CONFIGURATION / interface / name).read_text())
    except (OSError, ValueError):
        return 0


def queue_drops(queues: Iterable[int]) -> dict[int, tuple[int, int]]:
    """By queue: packets that wait, and that were dropped because it or its socket was full. Root alone may know."""
    wanted, found = set(queues), {}
    try:
        lines = QUEUES.read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        number, _, waiting, _, _, full, unread, *_ = (int(word) for word in line.split())
        if number in wanted:
            found[number] = waiting, full + unread
    return found
