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
from lb4.ledger import ALONE, Ledger, Shared
from lb4.model import AdminState, Backend, Health, Protocol, SchedulerKind, Service
from lb4.terminate.choice import Choice
from lb4.terminate.door import Door, Secure, in_the_clear
from lb4.terminate.model import TerminateListener, TerminatePart
from lb4.terminate.opening import Opened
from lb4.terminate.tally import Tally
from lb4.terminate.tcp import Relay
from lb4.terminate.udp import UdpFlow, UdpListener
from lb4.worker.accepting import Accepting

SWEEP = 1.0
"""Seconds between two looks for idle connections."""

Key = tuple[str, str, Endpoint]
"""Listener, service and backend."""


class Terminator:
    """Accepts, relays and counts."""

    def __init__(self, loop: asyncio.AbstractEventLoop, shared: Shared = ALONE) -> None:
        """Serves nothing yet. shared: what all workers have together."""
        self._loop = loop
        self._shared = shared
        self._listeners: dict[str, TerminateListener] = {}
        self._choices: dict[str, Choice] = {}
        self._tallies: dict[Key, Tally] = {}
        self._loads: dict[tuple[str, Endpoint], Ledger] = {}
        self._doors: dict[str, Door] = {}
        self._live: dict[str, set[Relay]] = {}
        self._accepting: dict[tuple[str, Bind], Accepting] = {}
        self._datagrams: dict[tuple[str, Bind], UdpListener] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._relay_ended = asyncio.Event()
        self._random = Random()

    # ---- what the supervisor tells

    async def configure(
        self, part: TerminatePart, contexts: Mapping[str, ssl.SSLContext], secure: Secure = in_the_clear
    ) -> None:
        """Replaces listeners and services; contexts: the TLS of the listeners that end it; secure: of the backends."""
        self._listeners = {each.listener.name: each for each in part.listeners}
        self._contexts = dict(contexts)
        for name, listener in self._listeners.items():
            if name not in self._doors:
                ledger = self._shared.ledgers(f"listener {name}")
                self._doors[name] = Door(listener, self._chooser(name), self._serves, self._relay_ended.set, ledger)
            self._doors[name].change(listener, secure)
        self._choices = {name: self._choice(service) for name, service in part.services.items()}
        for (name, _), accepting in list(self._accepting.items()):
            if name in self._listeners and accepting.context is not contexts.get(name):
                accepting.context = contexts.get(name)
                accepting.stop()
                await self._open(name, accepting)
        self._end_stale()

    def change_services(self, services: Mapping[str, Service]) -> None:
        """Takes new weights, health and admin states."""
        for name in self._choices.keys() & services.keys():
            self._choices[name] = self._choice(services[name])
        self._end_stale()

    def _choice(self, service: Service) -> Choice:
        before = self._choices.get(service.name)
        if before is not None:
            return before.changed(service)
        return Choice(service, self._random, self._shared.affinities, self._shared.turns(service.name))

    def _end_stale(self) -> None:
        """Ends what is open to backends that are disabled, and UDP to those that are down or no more, too."""
        self._forget_tallies()
        for relay in self._relays():
            found = self._found(relay.service, relay.chosen)
            if found is not None and found.admin is AdminState.DISABLED:
                relay.end()
        for owner in self._datagrams.values():
            for flow in list(owner.flows.values()):
                found = self._found(flow.service, flow.chosen)
                if found is None or found.admin is AdminState.DISABLED or found.health is Health.DOWN:
                    flow.end()
            owner.judge()

    def _forget_tallies(self) -> None:
        """Backends come and go without end where DNS names them."""
        for key, tally in list(self._tallies.items()):
            _, service, endpoint = key
            choice = self._choices.get(service)
            if not tally.active and (choice is None or endpoint not in choice.known):
                del self._tallies[key]
                self._loads.pop((service, endpoint), None)

    def _found(self, service: str, backend: Backend | None) -> Backend | None:
        """The backend as it is now."""
        choice = self._choices.get(service)
        if choice is None or backend is None:
            return None
        return next((each for each in choice.service.backends if each.endpoint == backend.endpoint), None)

    async def adopt(self, name: str, bind: Bind, sock: socket.socket) -> None:
        """Accepts at one more socket; not at one of a listener whose configuration could not be taken."""
        if name not in self._listeners:
            sock.close()
            return
        if self._listeners[name].listener.protocol is Protocol.UDP:
            owner = UdpListener(self._doors[name], self._loop, sock, lambda: self._served(name))
            await self._loop.create_datagram_endpoint(lambda: owner, sock=sock)
            self._datagrams[name, bind] = owner
            return
        accepting = self._accepting[name, bind] = Accepting(sock, self._contexts.get(name))
        await self._open(name, accepting)

    async def _open(self, name: str, accepting: Accepting) -> None:
        door, live = self._doors[name], self._live.setdefault(name, set())
        await accepting.start(self._loop, lambda: Relay(door, live, self._loop).client)

    def _served(self, name: str) -> bool:
        choice = self._choices.get(self._doors[name].listener.listener.service)
        return choice is not None and bool(choice.service.eligible())

    def release(self, name: str, bind: Bind) -> None:
        """Accepts no more at a socket; connections go on, UDP flows end."""
        accepting = self._accepting.pop((name, bind), None)
        if accepting is not None:
            accepting.close()
        datagrams = self._datagrams.pop((name, bind), None)
        if datagrams is not None:
            datagrams.end()

    async def drain(self, seconds: float) -> None:
        """Accepts no more, and waits for the connections to end, at most so long."""
        for name, bind in [*self._accepting, *self._datagrams]:
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
            for backend in choice.candidates(what.client, self._loop.time(), self._active(choice.service)):
                if not self._serves(choice.service, backend):
                    continue
                tally = self._tally(name, what.service, backend)
                if not tally.full(choice.service.max_connections):
                    yield choice.service, backend, tally

        return choose

    def _serves(self, service: Service, backend: Backend) -> bool:
        """A connection takes time: what was chosen may be disabled, draining or gone when it comes to it."""
        now = self._choices.get(service.name)
        return now is not None and backend.endpoint in now.enabled

    def _active(self, service: Service) -> Mapping[Endpoint, int]:
        """Connections to each backend, of all listeners and workers, where the scheduler asks for them."""
        if service.scheduler.kind is not SchedulerKind.LEAST_CONNECTIONS:
            return {}
        return {backend.endpoint: self._load(service.name, backend).live(None) for backend in service.backends}

    def _load(self, service: str, backend: Backend) -> Ledger:
        key = service, backend.endpoint
        if key not in self._loads:
            self._loads[key] = self._shared.ledgers(f"backend {backend.endpoint} of {service}")
        return self._loads[key]

    def _tally(self, listener: str, service: str, backend: Backend) -> Tally:
        key = listener, service, backend.endpoint
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(backend, self._load(service, backend))
        return tally

    def _relays(self) -> list[Relay]:
        return [relay for live in self._live.values() for relay in live]

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
                key = relay.door.listener.listener.name, relay.service, relay.chosen.endpoint
                packets, amount = live.get(key, (0, 0))
                live[key] = packets + relay.packets, amount + relay.bytes
        return {
            "backends": [self._row(key, tally, live.get(key, (0, 0))) for key, tally in self._tallies.items()],
            "flows": [_tcp_row(r) for r in self._relays() if r.chosen] + [_udp_row(f) for f in self._udp_flows()],
            "refused": {name: dict(door.refused) for name, door in self._doors.items()},
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
    listener = relay.door.listener.listener
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
    listener = flow.owner.door.listener.listener
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
