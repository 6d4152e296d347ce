"""Which source address and port a new flow gets towards its backend.

The rule: no two live flows to one backend share a source address and port; of several addresses each takes its turn,
and one whose ports are all out is passed over.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from itertools import count

from lb4.address import Endpoint, IPAddress
from lb4.packet.ports import PortRange, Ports

Pair = tuple[int, IPAddress, Endpoint]


class Sources:
    """The ports of all pairs of source address and backend, per protocol."""

    def __init__(self, ports: PortRange, seed: int) -> None:
        """seed: a number that outsiders do not know (see Ports)."""
        self.ports = ports
        self._seed = seed
        self._turn = count()
        self._pairs: dict[Pair, Ports] = {}

    def take(self, protocol: int, addresses: tuple[IPAddress, ...], backend: Endpoint) -> tuple[IPAddress, int] | None:
        """An address and a port of it, None where all ports of all addresses are out."""
        first = next(self._turn)
        for offset in range(len(addresses)):
            address = addresses[(first + offset) % len(addresses)]
            port = self._of(protocol, address, backend).take()
            if port is not None:
                return address, port
        return None

    def claim(self, protocol: int, source: Endpoint, backend: Endpoint) -> bool:
        """Takes this very port for a flow that lived before; False where it cannot be had."""
        return source.port is not None and self._of(protocol, source.ip, backend).claim(source.port)

    def give_back(self, protocol: int, source: Endpoint, backend: Endpoint) -> None:
        """The flow that had it is gone."""
        if source.port is not None:
            self._of(protocol, source.ip, backend).give_back(source.port)

    def _of(self, protocol: int, address: IPAddress, backend: Endpoint) -> Ports:
        pair = protocol, address, backend
        if pair not in self._pairs:
            self._pairs[pair] = Ports(self.ports, self._seed ^ zlib.crc32(f"{protocol} {address} {backend}".encode()))
        return self._pairs[pair]


Routes = Mapping[IPAddress, IPAddress]
"""By backend address, the balancer's own address that the routing table prefers towards it."""
