"""A terminated TCP connection: the client's, the backend's, and the bytes between them.

The rule: what one side sends the other gets, in order, as fast as it takes it: a full side pauses its peer, an end of
stream is passed on as one, a reset as a reset. The backend is chosen before its first byte, and never changed after.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import cast

from lb4.address import Endpoint, IPAddress, parse_ip
from lb4.admission import Refused
from lb4.model import Backend, Service
from lb4.terminate.at_once import at_once
from lb4.terminate.client_hello import NoClientHelloError
from lb4.terminate.door import Door
from lb4.terminate.opening import Opened, needs_bytes, opened
from lb4.terminate.outward import as_client
from lb4.terminate.proxy_protocol import ProxyProtocolError, build
from lb4.terminate.tally import Tally
from lb4.unsent import unsent

HIGH_WATER = 256 * 1024
"""Bytes written to one side and not yet taken by it, at which the other side is no longer read."""
TCP_INFO_SEGMENTS = struct.Struct("=136xII")
"""tcpi_segs_out and tcpi_segs_in in struct tcp_info (linux/tcp.h)."""
RESET = struct.pack("ii", 1, 0)
OPENING = 10.0
"""Seconds that a client has to say what its connection depends on: a PROXY protocol header, a server name."""


class Side(asyncio.Protocol):
    """One of the two connections of a relay."""

    peer: Side
    transport: asyncio.Transport
    forward: Callable[[bytes], None]
    """Writes to the other side."""
    outlives = False
    """Whether the other side goes on after this one has ended what it sends, though it cannot be told."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.received = 0
        self.ended = False

    def data_received(self, data: bytes) -> None:
        """Bytes for the other side."""
        self.received += len(data)
        self.forward(data)

    def eof_received(self) -> bool:
        """The end of what this side sends; the other direction goes on where the transport can half-close."""
        self.ended = True
        if self.peer.ended or not (self.peer.transport.can_write_eof() or self.outlives):
            self.peer.transport.close()
            return False
        if self.peer.transport.can_write_eof():
            self.peer.transport.write_eof()
        # TLS cannot stay half open (asyncio closes it whatever is returned).
        return self.transport.can_write_eof()

    def pause_writing(self) -> None:
        """This side takes no more for now."""
        self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """This side takes more again."""
        self.peer.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """This side is gone."""
        self.relay.lost(self, error)


class BackendSide(Side):
    """The connection from the balancer to the backend."""

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay)
        # A backend that speaks first may do so before the relay has joined the two.
        self.peer = relay.client
        self.given_up = False
        self.forward = relay.client.transport.write

    def give_up(self) -> None:
        """It is not joined, and its end is not the client's."""
        self.given_up = True
        self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """See Side."""
        if not self.given_up:
            super().connection_lost(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        # What it says before the two are joined may fill the client's buffer, which then pauses it.
        self.relay.client.peer = self


class ClientSide(Side):
    """The connection from the client to the balancer, read until it is known what it opens."""

    outlives = True

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay)
        self.first = b""
        self.connected = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        self.relay.arrived()

    def data_received(self, data: bytes) -> None:
        """Bytes for the backend, or for finding out which."""
        if self.connected:
            self.received += len(data)
            self.forward(data)
        else:
            self.first += data
            self.relay.opening()

    def eof_received(self) -> bool:
        """As for every side; before there is a backend it is kept for later."""
        if self.connected:
            return super().eof_received()
        self.ended = True
        return self.transport.can_write_eof()


class Relay:
    """A client's connection, its backend's, and their life together."""

    def __init__(self, door: Door, live: set[Relay], loop: asyncio.AbstractEventLoop) -> None:
        """live: all relays of the listener, of which it is one from the client's coming to its going."""
        self.door = door
        self.admission = door.admission
        self.live = live
        self.loop = loop
        self.client = ClientSide(self)
        self.backend: BackendSide | None = None
        self.opened: Opened | None = None
        self.chosen: Backend | None = None
        self.service = ""
        self.source: Endpoint | None = None
        self.tally: Tally | None = None
        self.let_in: Endpoint | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.moved = -1
        self.moved_at = loop.time()
        self.owed = 0

    def arrived(self) -> None:
        """The client's connection is there."""
        self.live.add(self)
        if self.client.transport.get_extra_info("peername") is None:
            # It was reset before it was accepted, as probes do it.
            self.client.transport.abort()
            return
        self.peer = endpoint_of(self.client.transport, "peername")
        self.target = endpoint_of(self.client.transport, "sockname")
        if not needs_bytes(self.door.listener, self.peer):
            self.opening()

    def opening(self) -> None:
        """Looks whether the bytes so far say what is opened; if so, connects."""
        if self.connecting is not None:
            # uvloop reads whom connection_made has paused.
            self.client.transport.pause_reading()
            return
        try:
            self.opened = opened(self.door.listener, self.peer, self.target, self.client.first)
        except (ProxyProtocolError, NoClientHelloError):
            self._refuse("malformed")
            return
        if self.opened is not None and self._lets_in(self.opened.client):
            self.client.transport.pause_reading()
            self.connecting = self.loop.create_task(self._connect(self.opened))

    def _lets_in(self, client: Endpoint) -> bool:
        refusal = self.admission.refusal(client.ip, self.loop.time())
        if refusal is not None:
            self._refuse(refusal.value)
            return False
        self.let_in = client
        self.admission.opened(client.ip)
        return True

    def _refuse(self, why: str) -> None:
        self.door.refused[why] += 1
        self.reset(self.client)

    async def _connect(self, what: Opened) -> None:
        for service, backend, tally in self.door.choose(what):
            tally.begin()
            try:
                side = await self._try(service, backend, what.client)
            except BaseException:
                tally.end()
                raise
            if side is None:
                tally.fail()
                continue
            if self.client.transport.is_closing():
                tally.end()
                side.transport.abort()
                return
            if not self.door.serves(service, backend):
                tally.end()
                side.give_up()
                continue
            self.service, self.chosen, self.tally = service.name, backend, tally
            self._join(side, service, what)
            return
        self._refuse(Refused.NO_BACKEND.value)

    async def _try(self, service: Service, backend: Backend, client: Endpoint) -> BackendSide | None:
        try:
            async with asyncio.timeout(self.door.listener.connect_timeout or None):
                return await self._reach(service, backend, client)
        except (OSError, ValueError):
            # ValueError: a DNS name that TLS cannot ask for.
            return None

    async def _reach(self, service: Service, backend: Backend, client: Endpoint) -> BackendSide:
        context, name = self.door.secure(service, backend) or (None, None)
        address = str(backend.endpoint.ip), backend.endpoint.port or self.target.port or 0
        ours = as_client(socket.SOCK_STREAM, client, backend.endpoint) if self.door.listener.transparent else None
        if ours is None:
            _, side = await self.loop.create_connection(
                lambda: BackendSide(self), *address, ssl=context, server_hostname=name
            )
            return side
        try:
            await self.loop.sock_connect(ours, address)
            _, side = await self.loop.create_connection(
                lambda: BackendSide(self), sock=ours, ssl=context, server_hostname=name
            )
        except BaseException:
            ours.close()
            raise
        return side

    def _join(self, side: BackendSide, service: Service, what: Opened) -> None:
        assert self.tally is not None
        self.tally.total += 1
        self.backend, side.peer, self.client.peer = side, self.client, side
        side.forward, self.client.forward = at_once(self.client.transport), at_once(side.transport)
        self.source = endpoint_of(side.transport, "sockname")
        if service.proxy_protocol:
            side.transport.write(build(service.proxy_protocol, what.client, what.target))
        self.client.connected = True
        # Before the first bytes are written, since they may fill the backend's buffer, which pauses the client.
        self.client.transport.resume_reading()
        first, self.client.first = self.client.first[what.taken :], b""
        if first:
            self.client.received += len(first)
            side.transport.write(first)
        if self.client.ended and side.transport.can_write_eof():
            side.transport.write_eof()

    def lost(self, side: Side, error: Exception | None) -> None:
        """One side is gone: the other gets what it is still owed, or a reset where this one was reset."""
        other = self.backend if side is self.client else self.client
        if side is self.client and self.connecting is not None and not self.client.connected:
            self.connecting.cancel()
        if other is not None and not other.transport.is_closing():
            if error is not None:
                self.reset(other)
            else:
                other.transport.close()
        if self in self.live and side is self.client:
            self._count()
            self.live.discard(self)
            self.door.ended()

    def _count(self) -> None:
        if self.let_in is not None:
            self.admission.ended(self.let_in.ip)
        if self.tally is None:
            return
        self.tally.end()
        self.tally.bytes += self.bytes
        self.tally.packets += self.packets

    @property
    def bytes(self) -> int:
        """Bytes relayed so far, both directions together."""
        return self.client.received + (self.backend.received if self.backend else 0)

    @property
    def packets(self) -> int:
        """Segments on the client's connection so far, as TCP counts them; 0 where it is gone already."""
        sock = self.client.transport.get_extra_info("socket")
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SEGMENTS.size)
            return sum(TCP_INFO_SEGMENTS.unpack(info))
        except (OSError, struct.error, AttributeError):
            return 0

    def idle(self, now: float) -> bool:
        """Whether nothing was relayed for the idle timeout; to be asked again and again."""
        if self.opened is None:
            return now - self.moved_at >= OPENING
        if self.moved != self.bytes:
            self.moved, self.moved_at = self.bytes, now
        if not 0 < self.door.listener.idle_timeout <= now - self.moved_at:
            return False
        if self._takes():
            self.moved_at = now
            return False
        return True

    def _takes(self) -> bool:
        """Whether a slow side took bytes since this was last asked: its buffers last longer than the timeout."""
        before = self.owed
        self.owed = sum(unsent(side.transport) for side in (self.client, self.backend) if side is not None)
        return 0 < self.owed != before

    def reset(self, side: Side) -> None:
        """Ends one side's connection by a reset (RFC 9293 section 3.5.2)."""
        sock = side.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        side.transport.abort()

    def end(self) -> None:
        """Ends both connections."""
        self.reset(self.client)


def endpoint_of(transport: asyncio.BaseTransport, which: str) -> Endpoint:
    """The transport's `peername` or `sockname`."""
    host, port = transport.get_extra_info(which)[:2]
    return Endpoint(_ip(host), port or None)


@lru_cache(maxsize=4096)
def _ip(host: str) -> IPAddress:
    """An address as sockets write it. Clients come again, and servers and the balancer itself are few."""
    return parse_ip(host.partition("%")[0])
