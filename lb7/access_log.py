"""The access log: one line for each request, as JSON or by a template, written in batches.

The rule: a request adds its line to a list and goes on; who reads a pipe too slowly loses lines, which are counted,
and holds up no request. (A thread that writes cost 15 us a request in contention for the interpreter.)
"""

from __future__ import annotations

import os
import re
import select
import stat
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lb7.auth.verdict import ALLOWED, Allowed
from lb7.message import RequestHead, RequestSection

if TYPE_CHECKING:
    from lb7.backends.service_state import BackendState

FLUSH_LINES = 128
BACKLOG_BYTES = 8 * 1024 * 1024
PIPE_BUF = 4096
"""Linux: so many bytes go into a pipe that polls as writable without blocking, and not mixed with others'."""
PLACEHOLDER = re.compile(r"\{(\w+)\}")


class LogError(Exception):
    """The log cannot be opened, or its template names what is not there."""


class Entry(Protocol):
    """A request that is over, as an Exchange has it.

    seconds: how long it took. client_address: where it came from, trusted proxies left out.
    """

    client_address: str
    head: RequestHead
    status: int
    reason: str
    detail: str
    backend: BackendState | None
    attempts: int
    bytes_in: int
    bytes_out: int
    seconds: float
    request_id: str
    verdict: Allowed
    method: str
    host: str
    target: str


NOTHING = RequestHead(b"-", b"", b"", RequestSection(()))


@dataclass(slots=True)
class Unread:
    """Bytes that were refused before they were a request."""

    client_address: str
    status: int
    reason: str
    detail: str
    bytes_out: int
    head: RequestHead = NOTHING
    backend: BackendState | None = None
    attempts: int = 0
    bytes_in: int = 0
    seconds: float = 0.0
    request_id: str = ""
    verdict: Allowed = ALLOWED
    method: str = "-"
    host: str = ""
    target: str = ""


Format = Callable[[str, str, Entry], str]
NAMES: Mapping[str, Callable[[Entry], object]] = {
    "client": lambda e: e.client_address,
    "method": lambda e: e.method,
    "host": lambda e: e.host,
    "target": lambda e: e.target,
    "protocol": lambda e: f"HTTP/1.{e.head.minor}",
    "status": lambda e: e.status,
    "reason": lambda e: e.reason or "-",
    "detail": lambda e: e.detail or "-",
    "backend": lambda e: e.backend.name if e.backend is not None else "-",
    "attempts": lambda e: e.attempts,
    "bytes_in": lambda e: e.bytes_in,
    "bytes_out": lambda e: e.bytes_out,
    "duration": lambda e: f"{e.seconds:.6f}",
    "request_id": lambda e: e.request_id or "-",
    "user": lambda e: e.verdict.user or "-",
    "user_agent": lambda e: e.head.section.user_agent or "-",
}
PLACES = ("time", "listener", "route", "service")


def where(listener: str, route: str, service: str) -> str:
    """The part of a JSON line that is the same for all requests of a route's service."""
    return f'"listener":{quoted(listener)},"route":{quoted(route)},"service":{quoted(service)}'


def json_line(moment: str, place: str, e: Entry) -> str:
    """One JSON object; place is what `where` gave."""
    backend = "null" if e.backend is None else e.backend.quoted_name
    tail = f',"user":{quoted(e.verdict.user)}' if e.verdict.user else ""
    if e.reason:
        tail += f',"reason":{quoted(e.reason)},"detail":{quoted(e.detail)}'
    return (
        f'{{"time":"{moment}",{place},"client":"{e.client_address}","method":"{e.method}",'
        f'"host":{quoted(e.host)},"target":{quoted(e.target)},"protocol":"HTTP/1.{e.head.minor}",'
        f'"status":{e.status},"backend":{backend},"attempts":{e.attempts},'
        f'"bytes_in":{e.bytes_in},"bytes_out":{e.bytes_out},"duration":{e.seconds:.6f},'
        f'"request_id":"{e.request_id}","user_agent":{e.head.section.quoted_agent}{tail}}}\n'
    )


def template(text: str) -> Format:
    """A line by a template whose `{names}` are the keys of the JSON line. Raises LogError on an unknown one."""
    unknown = [name for name in PLACEHOLDER.findall(text) if name not in NAMES and name not in PLACES]
    if unknown:
        raise LogError(f"the access log has no {unknown[0]!r}; it has {', '.join([*PLACES, *NAMES])}")

    def line(moment: str, place: str, entry: Entry) -> str:
        places = dict(zip(PLACES[1:], re.findall(r':("(?:[^"\\]|\\.)*")', place), strict=False))

        def value(found: re.Match[str]) -> str:
            name = found[1]
            if name == "time":
                return moment
            return places[name].strip('"') if name in places else _plain(str(NAMES[name](entry)))

        return PLACEHOLDER.sub(value, text) + "\n"

    return line


def _plain(text: str) -> str:
    """Without what could end the line or start another field."""
    return text if text.isprintable() and '"' not in text else quoted(text)[1:-1]


class Clock:
    """The time of day as RFC 3339 text; seconds and milliseconds are formatted once."""

    __slots__ = ("_moment", "_second", "_text", "_whole")

    def __init__(self) -> None:
        self._second = self._moment = -1
        self._whole = self._text = ""

    def text(self, now: float) -> str:
        """`now` in seconds since the epoch, to the millisecond."""
        moment = int(now * 1000)
        if moment != self._moment:
            self._moment = moment
            second, rest = divmod(moment, 1000)
            if second != self._second:
                self._second = second
                self._whole = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
            self._text = f"{self._whole}{rest:03d}Z"
        return self._text


class AccessLogFile:
    """Lines on their way to one file or standard output."""

    def __init__(self, to: str) -> None:
        """Opens it. Raises LogError."""
        self.to = to
        self.lost = 0
        self._lines: list[str] = []
        self._backlog = b""
        self._clock = Clock()
        try:
            self._fd = _open(to)
        except OSError as error:
            raise LogError(f"cannot write the access log {to}: {error.strerror}") from None
        self._is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._poll = select.poll()
        if not self._is_file:
            self._poll.register(self._fd, select.POLLOUT)

    def add(self, form: Format, place: str, entry: Entry) -> None:
        """One request is over."""
        lines = self._lines
        lines.append(form(self._clock.text(time.time()), place, entry))
        if len(lines) >= FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Writes what there is, as far as that goes without waiting."""
        batch = self._backlog + "".join(self._lines).encode()
        self._lines.clear()
        if not batch:
            return
        try:
            self._backlog = self._written(batch)
        except OSError:
            self._backlog = batch
        if len(self._backlog) > BACKLOG_BYTES:
            self.lost += self._backlog.count(b"\n")
            self._backlog = b""

    def _written(self, batch: bytes) -> bytes:
        """What is left over."""
        if self._is_file:
            return batch[os.write(self._fd, batch) :]
        while batch and self._poll.poll(0):
            end = batch.rfind(b"\n", 0, PIPE_BUF) + 1 or PIPE_BUF
            batch = batch[os.write(self._fd, batch[:end]) :]
        return batch

    def close(self) -> None:
        """Writes what is left and closes."""
        self.flush()
        if self._fd > 2:
            os.close(self._fd)
        self._fd = -1

    def __del__(self) -> None:
        # The last configuration that writes here, and the last request of it, are gone.
        if getattr(self, "_fd", -1) >= 0:
            self.close()


def _open(to: str) -> int:
    if to == "stdout":
        return sys.stdout.fileno()
    if to == "stderr":
        return sys.stderr.fileno()
    return os.open(Path(to), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
