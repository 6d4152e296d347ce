"""What one worker of packet mode is told: the balancer, its routes, its share of the ports and how much it may hold.

The rule: a frozen value that can be pickled; nothing here is looked up, all of it was looked up before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lb4.address import IPAddress
from lb4.compile.marks import QUEUE_BASE
from lb4.model import Balancer, Listener
from lb4.packet.flow_table import FLOWS_MAX
from lb4.packet.ports import PortRange


@dataclass(frozen=True, slots=True)
class Setup:
    """routes: by backend address, the balancer's own address towards it (used by listeners without `snat`).

    ports: of all workers; each takes its part. flows_max: of one worker. seed: a secret number for the order of ports.
    """

    balancer: Balancer
    routes: Mapping[IPAddress, IPAddress] = field(default_factory=dict)
    worker: int = 0
    workers: int = 1
    ports: PortRange = field(default_factory=PortRange)
    flows_max: int = FLOWS_MAX
    seed: int = 0

    @property
    def own_ports(self) -> PortRange:
        """The source ports of this worker."""
        return self.ports.part(self.worker, self.workers)

    @property
    def queue(self) -> int:
        """The number of this worker's packet queue."""
        return QUEUE_BASE + 1 + self.worker

    def sources(self, listener: Listener, backend: IPAddress) -> tuple[IPAddress, ...]:
        """The addresses that a listener's packets to a backend may carry as source."""
        own = tuple(ip for ip in listener.snat if ip.version == backend.version)
        if own:
            return own
        return (self.routes[backend],) if backend in self.routes else ()
