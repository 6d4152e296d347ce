"""Load from the lab's client: threads that ask without end, and count what was answered and what was lost."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from cli.lab.plan import CLIENT, LISTEN4
from tests.lab import Lab, greeting

PATIENCE = 8.0


class Asker(Protocol):
    """One client of a port: each turn is one request. Raises OSError or HTTPException where it was lost."""

    port: int

    def turn(self) -> str: ...

    def close(self) -> None: ...


class Connections:
    """A new TCP connection each turn."""

    def __init__(self, lab: Lab, port: int) -> None:
        self.lab, self.port = lab, port

    def turn(self) -> str:
        with self.lab.connect("tcp", (LISTEN4, self.port)) as sock:
            sock.settimeout(PATIENCE)
            name, _ = greeting(sock)
            sock.send(b"x")
            if sock.recv(1) != b"x":
                raise ConnectionError("no echo")
        return name

    def close(self) -> None: ...


class Echoes:
    """One TCP connection kept open, an echo each turn."""

    def __init__(self, lab: Lab, port: int) -> None:
        self.port = port
        self.sock = lab.connect("tcp", (LISTEN4, port))
        self.sock.settimeout(PATIENCE)
        self.name, _ = greeting(self.sock)

    def turn(self) -> str:
        self.sock.send(b"y")
        if self.sock.recv(1) != b"y":
            raise ConnectionError("closed")
        return self.name

    def close(self) -> None:
        self.sock.close()


class Requests:
    """HTTP requests on one connection that is kept alive, opened anew where the other side has closed it.

    As RFC 9112, section 9.3.1 has it, a request that met a connection closed before any byte of an answer is
    idempotent and asked once more.
    """

    def __init__(self, lab: Lab, port: int, kept: bool = True) -> None:
        self.lab, self.port, self.kept = lab, port, kept
        self.connection: http.client.HTTPConnection | None = None

    def turn(self) -> str:
        for attempt in (1, 2):
            fresh = self.connection is None
            try:
                return self._ask()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self.close()
                if fresh or attempt == 2:
                    raise
            except (OSError, http.client.HTTPException):
                self.close()
                raise
        raise AssertionError

    def _ask(self) -> str:
        connection = self.connection
        if connection is None:
            with self.lab.inside(CLIENT):
                connection = self.connection = http.client.HTTPConnection(str(LISTEN4), self.port, timeout=PATIENCE)
                connection.connect()
        connection.request("GET", "/", headers={} if self.kept else {"Connection": "close"})
        response = connection.getresponse()
        body = response.read()
        if not self.kept or response.will_close:
            self.close()
        if response.status != 200:
            raise ConnectionError(f"status {response.status}: {body[:80]!r}")
        return str(response.status)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = None


class Load:
    """So many askers at once, each in a thread, until the block ends."""

    def __init__(self, *askers: Asker, pause: float = 0.003) -> None:
        self.answered = 0
        self.lost: Counter[str] = Counter()
        self.lost_at: list[tuple[float, str]] = []
        self._over = threading.Event()
        self._pause = pause
        self._askers = askers
        self._threads = [threading.Thread(target=self._ask, args=(asker,)) for asker in askers]

    def _ask(self, asker: Asker) -> None:
        while not self._over.is_set():
            try:
                asker.turn()
                self.answered += 1
            except (OSError, http.client.HTTPException) as error:
                what = f"{type(asker).__name__} to {asker.port}: {error!r}"
                self.lost[what] += 1
                self.lost_at.append((time.monotonic(), what))
                if isinstance(asker, Echoes):
                    return
            time.sleep(self._pause)

    def flows(self, more: int) -> None:
        """Waits for so many more answers."""
        wanted, deadline = self.answered + more, time.monotonic() + 20
        while self.answered < wanted:
            assert time.monotonic() < deadline, (self.answered, self.lost)
            time.sleep(0.01)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        for asker in self._askers:
            with suppress(OSError):
                asker.close()
