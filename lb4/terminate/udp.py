"""Terminated UDP: for every client address a flow with a socket of its own to the backend.

The rule: a flow lives while either side sends within the idle timeout; the table is bounded, and a datagram that finds
it full, or that a list or limit refuses, is dropped and counted. Datagrams that come while the flow's socket opens wait
for it, a few at most. With no flow and nobody to open one to, the kernel answers port-unreachable.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

from lb4.address import Endpoint, parse_ip
from lb4.admission import Refused
from lb4.model import Backend, Service
from lb4.terminate.deaf import deafen, is_deaf, undeafen
from lb4.terminate.door import Door
from lb4.terminate.opening import Opened
from lb4.terminate.outward import as_client
from lb4.terminate.tally import Tally

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
        self._flow.failed()


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
        self._admission = owner.door.admission
        self._admission.opened(client.ip)
        tally.begin()
        tally.total += 1

    async def open(self) -> None:
        """Opens the socket and sends what waited."""
        try:
            transport = await self._reach()
        except OSError:
            self.failed()
            return
        if self.owner.flows.get(self.address) is not self:
            transport.close()
            return
        self.transport = transport
        host, own = transport.get_extra_info("sockname")[:2]
        self.source = Endpoint(parse_ip(host.partition("%")[0]), own)
        for data in self.waiting:
            transport.sendto(data)
        self.waiting = []

    async def _reach(self) -> asyncio.DatagramTransport:
        address = str(self.chosen.endpoint.ip), self.chosen.endpoint.port or self.owner.target.port or 0
        loop, ours = self.owner.loop, None
        if self.owner.door.listener.transparent:
            ours = as_client(socket.SOCK_DGRAM, self.client, self.chosen.endpoint)
        if ours is None:
            transport, _ = await loop.create_datagram_endpoint(lambda: BackendDatagrams(self), remote_addr=address)
            return transport
        try:
            ours.connect(address)
            transport, _ = await loop.create_datagram_endpoint(lambda: BackendDatagrams(self), sock=ours)
        except BaseException:
            ours.close()
            raise
        return transport

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
        if self.owner.flows.get(self.address) is not self:
            return
        del self.owner.flows[self.address]
        self._admission.ended(self.client.ip)
        self.tally.end()
        if self.transport is not None:
            self.transport.close()

    def failed(self) -> None:
        """Forgets the flow, and counts that its backend was not there."""
        self.tally.failures += 1
        self.end()


class UdpListener(asyncio.DatagramProtocol):
    """The socket where clients' datagrams arrive."""

    transport: asyncio.DatagramTransport

    def __init__(
        self, door: Door, loop: asyncio.AbstractEventLoop, sock: socket.socket, served: Callable[[], bool]
    ) -> None:
        """sock: bound. served: whether there is a backend that a new flow could go to."""
        self.door = door
        self.loop = loop
        self.flows: dict[Address, UdpFlow] = {}
        self._sock = sock
        self._served = served
        self._deaf = is_deaf(sock)
        if self._deaf:
            # uvloop sends to nobody by a socket that was connected when it was opened.
            undeafen(sock)
            self._deaf = False
        host, port = sock.getsockname()[:2]
        self.target = Endpoint(parse_ip(host.partition("%")[0]), port)
        self._opening: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport."""
        self.transport = cast(asyncio.DatagramTransport, transport)
        self.judge()

    def error_received(self, exc: Exception) -> None:
        """A client's host says that nobody listens there any more; its flow ends by itself."""

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """A client's datagram."""
        flow = self.flows.get(addr) or self._new(addr)
        if flow is not None:
            flow.sent(data)

    def _new(self, address: Address) -> UdpFlow | None:
        client = Endpoint(parse_ip(address[0].partition("%")[0]), address[1] or None)
        refusal = self.door.admission.refusal(client.ip, self.loop.time())
        if refusal is None and len(self.flows) >= self.door.listener.max_udp_flows:
            refusal = Refused.TABLE_FULL
        if refusal is not None:
            self.door.refused[refusal.value] += 1
            return None
        for chosen in self.door.choose(Opened(client, self.target, self.door.listener.listener.service)):
            flow = self.flows[address] = UdpFlow(self, address, client, chosen)
            task = self.loop.create_task(flow.open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
            return flow
        self.door.refused[Refused.NO_BACKEND.value] += 1
        return None

    def judge(self) -> None:
        """Hears clients, or lets the kernel tell them that nobody is there. To be asked again after every change."""
        deaf = not self.flows and not self._served()
        if deaf is not self._deaf:
            # An address that this host has no more cannot be connected to; then datagrams are dropped.
            with contextlib.suppress(OSError):
                (deafen if deaf else undeafen)(self._sock)
                self._deaf = deaf

    def sweep(self, now: float) -> None:
        """Ends the flows that nobody used for the idle timeout."""
        timeout = self.door.listener.idle_timeout
        if timeout > 0:
            for flow in [f for f in self.flows.values() if now - f.used_at >= timeout]:
                flow.end()
        self.judge()

    def end(self) -> None:
        """Ends all flows and the socket."""
        for flow in list(self.flows.values()):
            flow.end()
        self.transport.close()
