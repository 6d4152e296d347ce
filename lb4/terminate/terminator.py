"""The terminator: all terminated listeners of one worker process.

The rule: it changes only what the supervisor tells it to, between two events of the loop; a live connection keeps the
backend it has whatever is changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from lb4.address import Bind, Endpoint
from lb4.model import Backend, Protocol, Service
from lb4.terminate.choice import Choice
from lb4.terminate.model import TerminateListener, TerminatePart
from lb4.terminate.opening import Opened
from lb4.terminate.tally import Tally
from lb4.terminate.tcp import Connections, Relay, Secure, in_the_clear
from lb4.terminate.udp import UdpFlow, UdpListener

SWEEP = 1.0
"""Seconds between two looks for idle connections."""

Key = tuple[str, str, Endpoint]
"""Listener, service and backend."""


class Terminator:
    """Accepts, relays and counts."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serves nothing yet."""
        self._loop = loop
        self._listeners: dict[str, TerminateListener] = {}
        self._choices: dict[str, Choice] = {}
        self._tallies: dict[Key, Tally] = {}
        self._connections: dict[str, Connections] = {}
        self._servers: dict[tuple[str, Bind], asyncio.Server] = {}
        self._datagrams: dict[tuple[str, Bind], UdpListener] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._relay_ended = asyncio.Event()
        self._random = Random()

    # ---- what the supervisor tells

    def configure(
        self, part: TerminatePart, contexts: Mapping[str, ssl.SSLContext], secure: Secure = in_the_clear
    ) -> None:
        """Replaces listeners and services; contexts: the TLS of the listeners that end it; secure: of the backends."""
        self._listeners = {each.listener.name: each for each in part.listeners}
        self._contexts = dict(contexts)
        for name, listener in self._listeners.items():
            connections = self._connections.setdefault(
                name, Connections(listener, self._chooser(name), self._relay_ended.set)
            )
            connections.listener = listener
            connections.secure = secure
        self._choices = {name: self._choice(service) for name, service in part.services.items()}

    def change_services(self, services: Mapping[str, Service]) -> None:
        """Takes new weights, health and admin states."""
        for name in self._choices.keys() & services.keys():
            self._choices[name] = self._choice(services[name])

    def _choice(self, service: Service) -> Choice:
        before = self._choices.get(service.name)
        return Choice(service, self._random) if before is None else before.changed(service)

    async def adopt(self, name: str, bind: Bind, sock: socket.socket) -> None:
        """Accepts at one more socket."""
        listener = self._listeners[name]
        if listener.listener.protocol is Protocol.UDP:
            owner = UdpListener(listener, self._chooser(name), self._loop, sock)
            await self._loop.create_datagram_endpoint(lambda: owner, sock=sock)
            self._datagrams[name, bind] = owner
            return
        connections = self._connections[name]
        self._servers[name, bind] = await self._loop.create_server(
            lambda: Relay(connections, self._loop).client, sock=sock, ssl=self._contexts.get(name)
        )

    def release(self, name: str, bind: Bind) -> None:
        """Accepts no more at a socket; connections go on, UDP flows end."""
        server = self._servers.pop((name, bind), None)
        if server is not None:
            server.close()
        datagrams = self._datagrams.pop((name, bind), None)
        if datagrams is not None:
            datagrams.end()

    async def drain(self, seconds: float) -> None:
        """Accepts no more, and waits for the connections to end, at most so long."""
        for name, bind in [*self._servers, *self._datagrams]:
            self.release(name, bind)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._relays():
                    self._relay_ended.clear()
                    await self._relay_ended.wait()
        for relay in self._relays():
            relay.end()

    # ---- choosing and counting

    def _chooser(self, name: str) -> Any:
        def choose(what: Opened) -> Iterator[tuple[Service, Backend, Tally]]:
            choice = self._choices.get(what.service)
            if choice is None:
                return
            for backend in choice.candidates(what.client, self._loop.time(), self._active(what.service)):
                yield choice.service, backend, self._tally(name, what.service, backend)

        return choose

    def _active(self, service: str) -> Mapping[Endpoint, int]:
        counts: dict[Endpoint, int] = {}
        for (_, named, endpoint), tally in self._tallies.items():
            if named == service:
                counts[endpoint] = counts.get(endpoint, 0) + tally.active
        return counts

    def _tally(self, listener: str, service: str, backend: Backend) -> Tally:
        return self._tallies.setdefault((listener, service, backend.endpoint), Tally())

    def _relays(self) -> list[Relay]:
        return [relay for connections in self._connections.values() for relay in connections.live]

    def _udp_flows(self) -> list[UdpFlow]:
        return [flow for owner in self._datagrams.values() for flow in owner.flows.values()]

    async def sweep(self) -> None:
        """Ends what is idle, again and again."""
        while True:
            await asyncio.sleep(SWEEP)
            now = self._loop.time()
            for relay in self._relays():
                if relay.idle(now):
                    relay.end()
            for owner in self._datagrams.values():
                owner.sweep(now)

    # ---- what the supervisor is told

    def statistics(self) -> dict[str, Any]:
        """Counts by listener and backend, and every live flow, in the form that `lbctl flows` has."""
        live: dict[Key, tuple[int, int]] = {}
        for relay in self._relays():
            if relay.chosen is not None:
                key = relay.connections.listener.listener.name, relay.service, relay.chosen.endpoint
                packets, amount = live.get(key, (0, 0))
                live[key] = packets + relay.packets, amount + relay.bytes
        return {
            "backends": [self._row(key, tally, live.get(key, (0, 0))) for key, tally in self._tallies.items()],
            "flows": [_tcp_row(r) for r in self._relays() if r.chosen] + [_udp_row(f) for f in self._udp_flows()],
            "refused": {
                name: connections.refused + sum(d.refused for (n, _), d in self._datagrams.items() if n == name)
                for name, connections in self._connections.items()
            },
        }

    def _row(self, key: Key, tally: Tally, live: tuple[int, int]) -> dict[str, Any]:
        listener, service, backend = key
        return {
            "listener": listener,
            "service": service,
            "backend": str(backend),
            "active": tally.active,
            "total": tally.total,
            "packets": tally.packets + live[0],
            "bytes": tally.bytes + live[1],
            "failures": tally.failures,
        }


def _tcp_row(relay: Relay) -> dict[str, Any]:
    assert relay.opened is not None
    assert relay.chosen is not None
    assert relay.backend is not None
    listener = relay.connections.listener.listener
    return {
        "listener": listener.name,
        "service": relay.service,
        "protocol": "tcp",
        "client": str(relay.opened.client),
        "target": str(relay.opened.target),
        "source": str(relay.source),
        "backend": str(relay.chosen.endpoint),
        "state": "ESTABLISHED",
        "packets": [relay.packets, 0],
        "bytes": [relay.client.received, relay.backend.received],
    }


def _udp_row(flow: UdpFlow) -> dict[str, Any]:
    listener = flow.owner.listener.listener
    return {
        "listener": listener.name,
        "service": flow.service,
        "protocol": "udp",
        "client": str(flow.client),
        "target": str(flow.owner.target),
        "source": str(flow.source),
        "backend": str(flow.chosen.endpoint),
        "state": "",
        "packets": list(flow.packets),
        "bytes": list(flow.bytes),
    }
