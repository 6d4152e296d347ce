"""The fleet: all workers of all kinds, and the sockets they serve.

The rule: new sockets are opened before anything else is changed, so that a configuration whose addresses cannot be
bound changes nothing; sockets that stay are never closed and opened again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from cli.config.model import Configuration
from cli.operations.context import may_administer
from cli.run.parts import MODULES, SINGLE, SOCKET_KINDS, SOCKET_MODES, listeners_of, rights_of
from cli.run.sockets import BindError, close_sockets, open_sockets, ports_of
from cli.run.workers import Heard, Worker
from lb4.address import Bind
from lb4.ledger import shared_memory
from lb4.model import Protocol
from lb4.worker.messages import Message
from lb7.files import Files, named_files, of_backend_tls, read_files
from lb7.fitness import unfit

Place = tuple[str, Protocol, Bind]
"""A listener's name, its protocol, one address and port."""

HANDED_OVER = 600.0
"""Seconds that connections may go on in a worker whose place another one takes."""
READY_AGAIN = 1.0
"""Seconds after which it is looked anew which workers are not ready: one that was waited for may have been ended."""


@dataclass
class Prepared:
    """A configuration whose new sockets are open, by kind and place, one for each worker, and its files read."""

    configuration: Configuration
    files: Files
    fresh: dict[str, dict[Place, tuple[socket.socket, ...]]] = field(default_factory=dict)

    def discard(self) -> None:
        """Closes what was opened."""
        for places in self.fresh.values():
            for sockets in places.values():
                for sock in sockets:
                    sock.close()


def _files(configuration: Configuration) -> Files:
    """The files that listeners and services name, fit to be served. Raises FileError."""
    to_backends = configuration.tls_to_backends
    names = [name for tls in to_backends for name in of_backend_tls(tls)]
    files = read_files((*named_files(configuration.http, configuration.terminated_tls), *names))
    for error in unfit(configuration.http, files, configuration.terminated_tls, to_backends) if files else ():
        raise error
    return files


def _allowed(configuration: Configuration) -> None:
    """Raises BindError where a listener has addresses of clients and this process may not."""
    transparent = [name for name, each in configuration.terminate.items() if each.transparent]
    if transparent and not may_administer():
        raise BindError(f"listener {transparent[0]}: transparent takes root, or CAP_NET_ADMIN")


class Fleet:
    """Starts, feeds and ends workers."""

    def __init__(self, size: int, user: str, heard: Heard, packet_size: int = 1) -> None:
        """size: workers of each kind that serves sockets; user: whom they run as; heard: called with every report.

        packet_size: workers of mode packet, between which flows are divided by their clients' ports.
        """
        self.size = size
        self.packet_size = packet_size
        self.user = user
        self.workers: dict[str, list[Worker]] = {}
        self._heard = heard
        self._watches: set[asyncio.Task[None]] = set()
        self._counts: dict[str, int] = {}
        self._places: dict[str, set[Place]] = {kind: set() for kind in SOCKET_KINDS}

    def prepare(self, configuration: Configuration) -> Prepared:
        """Opens the sockets that the configuration needs and the fleet has not. Raises BindError, FileError."""
        _allowed(configuration)
        prepared = Prepared(configuration, _files(configuration))
        try:
            for kind in SOCKET_KINDS:
                prepared.fresh[kind] = self._opened(kind, configuration)
        except BindError:
            prepared.discard()
            raise
        return prepared

    def _opened(self, kind: str, configuration: Configuration) -> dict[Place, tuple[socket.socket, ...]]:
        """By place, one socket for each worker."""
        fresh: dict[Place, tuple[socket.socket, ...]] = {}
        for listener in listeners_of(kind, configuration):
            places = {bind: (listener.name, listener.protocol, bind) for bind in ports_of(listener)}
            binds = [bind for bind, place in places.items() if place not in self._places[kind]]
            opened = open_sockets(listener, binds, self._count(kind))
            fresh |= {places[bind]: tuple(sockets[bind] for sockets in opened) for bind in binds}
        return fresh

    def take_over(self, prepared: Prepared, parts: Mapping[str, object | None]) -> None:
        """Serves the prepared configuration; a kind whose part is None needs no workers."""
        for kind, part in parts.items():
            if part is not None:
                self._configure(kind, part)
            self._resocket(kind, prepared)
            if part is None:
                self._end(kind)

    def _configure(self, kind: str, part: object) -> None:
        before = self.workers.get(kind, [])
        if before and before[0].rights == rights_of(part):
            for worker in before:
                worker.configure(part)
            return
        count = self._count(kind)
        counts = self._shared(kind, count)
        made = [Worker(kind, MODULES[kind], n, self.user, part, counts, count, rights_of(part)) for n in range(count)]
        self.workers[kind] = made
        for old, new in zip(before, made, strict=False):
            # No right can be given to a process that gave it up: another one takes over its sockets.
            old.sockets, new.sockets = {}, old.sockets
            old.drain(HANDED_OVER)

    def _shared(self, kind: str, workers: int) -> int:
        if kind not in SOCKET_MODES and kind != "packet":
            return -1
        if kind in self._counts:
            os.close(self._counts[kind])
        self._counts[kind] = shared_memory(workers)
        return self._counts[kind]

    def _count(self, kind: str) -> int:
        """How many workers of a kind there are."""
        return {"packet": self.packet_size}.get(kind, 1 if kind in SINGLE else self.size)

    def _resocket(self, kind: str, prepared: Prepared) -> None:
        if kind not in SOCKET_KINDS:
            self._begin(kind)
            return
        configuration, fresh = prepared.configuration, prepared.fresh.pop(kind, {})
        wanted = {(each.name, each.protocol, b) for each in listeners_of(kind, configuration) for b in ports_of(each)}
        for place, sockets in fresh.items():
            for worker, sock in zip(self.workers[kind], sockets, strict=True):
                worker.adopt(place[0], {place[2]: sock})
        for name, _, bind in self._places[kind] - wanted:
            for worker in self.workers[kind]:
                worker.release(name, (bind,))
        self._places[kind] = wanted
        self._begin(kind)

    def _begin(self, kind: str) -> None:
        for worker in self.workers.get(kind, []):
            if not worker.watched:
                worker.watched = True
                task = asyncio.create_task(worker.watch(self._heard))
                self._watches.add(task)
                task.add_done_callback(self._watches.discard)

    def _end(self, kind: str) -> None:
        for worker in self.workers.pop(kind, []):
            worker.drain(0)

    def serve(self, kind: str, part: object | None) -> None:
        """Gives a kind without sockets this part, starting or ending its workers as that needs."""
        if part is None:
            self._end(kind)
        else:
            self._configure(kind, part)
            self._begin(kind)

    def remember(self, parts: Mapping[str, object | None]) -> None:
        """What workers that are started anew are told from now on."""
        for kind, part in parts.items():
            for worker in self.workers.get(kind, []) if part is not None else ():
                worker.part = part

    def tell(self, kind: str, message: Message) -> None:
        """One message to all workers of a kind."""
        for worker in self.workers.get(kind, []):
            worker.tell(message)

    async def ready(self) -> None:
        """Until every worker has carried out its configuration, also those that were started meanwhile."""
        while waiting := [each for workers in self.workers.values() for each in workers if not each.ready.is_set()]:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(waiting[0].ready.wait(), READY_AGAIN)

    async def drain(self, seconds: float) -> None:
        """Ends all workers, those that serve clients within so many seconds."""
        for workers in self.workers.values():
            for worker in workers:
                worker.drain(seconds)
                for sockets in worker.sockets.values():
                    close_sockets([sockets])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds + 1):
                while self._watches:
                    await asyncio.wait(self._watches)
        for workers in self.workers.values():
            for worker in workers:
                worker.kill()
        if self._watches:
            await asyncio.wait(self._watches, timeout=2)
