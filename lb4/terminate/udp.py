"""Terminated UDP: for every client address a flow with a socket of its own to the backend.

The rule: a flow lives while either side sends within the idle timeout; the table is bounded, and a datagram that finds
it full is dropped and counted. Datagrams that come while the flow's socket opens wait for it, a few at most.
"""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from lb4.address import Endpoint, parse_ip
from lb4.model import Backend, Service
from lb4.terminate.model import TerminateListener
from lb4.terminate.opening import Opened
from lb4.terminate.tally import Tally
from lb4.terminate.tcp import Choose

WAITING_MAX = 16
"""Datagrams of one client kept while its flow opens."""

Address = tuple[str, int] | tuple[str, int, int, int]


class BackendDatagrams(asyncio.DatagramProtocol):
    """The flow's socket to its backend."""

    def __init__(self, flow: UdpFlow) -> None:
        self._flow = flow

    def datagram_received(self, data: bytes, addr: object) -> None:
        """An answer for the client."""
        self._flow.answered(data)

    def error_received(self, exc: Exception) -> None:
        """The backend's host says that nobody listens: the client's next datagram may go elsewhere."""
        self._flow.tally.failures += 1
        self._flow.end()


class UdpFlow:
    """One client's exchange with its backend."""

    def __init__(
        self, owner: UdpListener, address: Address, client: Endpoint, chosen: tuple[Service, Backend, Tally]
    ) -> None:
        service, backend, tally = chosen
        self.owner = owner
        self.address = address
        self.client = client
        self.service = service.name
        self.chosen = backend
        self.tally = tally
        self.transport: asyncio.DatagramTransport | None = None
        self.source: Endpoint | None = None
        self.waiting: list[bytes] = []
        self.packets = [0, 0]
        self.bytes = [0, 0]
        self.used_at = owner.loop.time()
        tally.active += 1
        tally.total += 1

    async def open(self) -> None:
        """Opens the socket and sends what waited."""
        port = self.chosen.endpoint.port or self.owner.target.port or 0
        try:
            transport, _ = await self.owner.loop.create_datagram_endpoint(
                lambda: BackendDatagrams(self), remote_addr=(str(self.chosen.endpoint.ip), port)
            )
        except OSError:
            self.tally.failures += 1
            self.end()
            return
        self.transport = transport
        host, own = transport.get_extra_info("sockname")[:2]
        self.source = Endpoint(parse_ip(host.partition("%")[0]), own)
        for data in self.waiting:
            transport.sendto(data)
        self.waiting = []

    def sent(self, data: bytes) -> None:
        """A datagram from the client."""
        self._count(data, 0)
        if self.transport is not None:
            self.transport.sendto(data)
        elif len(self.waiting) < WAITING_MAX:
            self.waiting.append(data)

    def answered(self, data: bytes) -> None:
        """A datagram from the backend."""
        self._count(data, 1)
        self.owner.transport.sendto(data, self.address)

    def _count(self, data: bytes, direction: int) -> None:
        self.used_at = self.owner.loop.time()
        self.packets[direction] += 1
        self.bytes[direction] += len(data)
        self.tally.packets += 1
        self.tally.bytes += len(data)

    def end(self) -> None:
        """Forgets the flow."""
        if self.owner.flows.pop(self.address, None) is None:
            return
        self.tally.active -= 1
        if self.transport is not None:
            self.transport.close()


class UdpListener(asyncio.DatagramProtocol):
    """The socket where clients' datagrams arrive."""

    transport: asyncio.DatagramTransport

    def __init__(
        self, listener: TerminateListener, choose: Choose, loop: asyncio.AbstractEventLoop, sock: socket.socket
    ):
        """choose as for TCP; sock: the bound socket, for its own address."""
        self.listener = listener
        self.choose = choose
        self.loop = loop
        self.flows: dict[Address, UdpFlow] = {}
        self.refused = 0
        host, port = sock.getsockname()[:2]
        self.target = Endpoint(parse_ip(host.partition("%")[0]), port)
        self._opening: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport."""
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """A client's datagram."""
        flow = self.flows.get(addr) or self._new(addr)
        if flow is not None:
            flow.sent(data)

    def _new(self, address: Address) -> UdpFlow | None:
        client = Endpoint(parse_ip(address[0].partition("%")[0]), address[1] or None)
        if len(self.flows) >= self.listener.max_udp_flows:
            self.refused += 1
            return None
        for chosen in self.choose(Opened(client, self.target, self.listener.listener.service)):
            flow = self.flows[address] = UdpFlow(self, address, client, chosen)
            task = self.loop.create_task(flow.open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
            return flow
        self.refused += 1
        return None

    def sweep(self, now: float) -> None:
        """Ends the flows that nobody used for the idle timeout."""
        for flow in [f for f in self.flows.values() if now - f.used_at >= self.listener.idle_timeout]:
            flow.end()

    def end(self) -> None:
        """Ends all flows and the socket."""
        for flow in list(self.flows.values()):
            flow.end()
        self.transport.close()
