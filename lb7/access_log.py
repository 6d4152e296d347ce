"""The access log: one line for each request, as JSON or by a template, written behind the requests' backs.

The rule: a request adds its line to a list and goes on; a thread writes, and when it cannot keep up lines are counted
as lost instead of holding up a request.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path

FLUSH_LINES = 256
FLUSH_SECONDS = 0.25
QUEUED_BATCHES = 256
PLACEHOLDER = re.compile(r"\{(\w+)\}")
_stop = b""


class LogError(Exception):
    """The log cannot be opened, or its template names what is not there."""


@dataclass(slots=True)
class Entry:
    """What is known of one request when it is over. duration in seconds; where by what: listener, route, service."""

    client: str
    method: bytes
    host: bytes
    target: bytes
    minor: int
    status: int
    reason: str
    backend: str
    attempts: int
    bytes_in: int
    bytes_out: int
    duration: float
    request_id: bytes
    user: str
    user_agent: bytes
    detail: str = ""


Format = Callable[[str, str, Entry], str]
NAMES: Mapping[str, Callable[[Entry], object]] = {
    "client": lambda e: e.client,
    "method": lambda e: e.method.decode("latin-1"),
    "host": lambda e: e.host.decode("latin-1"),
    "target": lambda e: e.target.decode("latin-1"),
    "protocol": lambda e: f"HTTP/1.{e.minor}",
    "status": lambda e: e.status,
    "reason": lambda e: e.reason or "-",
    "detail": lambda e: e.detail or "-",
    "backend": lambda e: e.backend or "-",
    "attempts": lambda e: e.attempts,
    "bytes_in": lambda e: e.bytes_in,
    "bytes_out": lambda e: e.bytes_out,
    "duration": lambda e: f"{e.duration:.6f}",
    "request_id": lambda e: e.request_id.decode("latin-1"),
    "user": lambda e: e.user or "-",
    "user_agent": lambda e: e.user_agent.decode("latin-1") or "-",
}
PLACES = ("time", "listener", "route", "service")


def where(listener: str, route: str, service: str) -> str:
    """The part of a JSON line that is the same for all requests of a route's service."""
    return f'"listener":{quoted(listener)},"route":{quoted(route)},"service":{quoted(service)}'


def json_line(moment: str, place: str, e: Entry) -> str:
    """One JSON object; place is what `where` gave."""
    backend = quoted(e.backend) if e.backend else "null"
    tail = f',"user":{quoted(e.user)}' if e.user else ""
    if e.reason:
        tail += f',"reason":{quoted(e.reason)},"detail":{quoted(e.detail)}'
    return (
        f'{{"time":"{moment}",{place},"client":"{e.client}","method":"{e.method.decode()}",'
        f'"host":{quoted(e.host.decode("latin-1"))},"target":{quoted(e.target.decode("latin-1"))},'
        f'"protocol":"HTTP/1.{e.minor}","status":{e.status},"backend":{backend},"attempts":{e.attempts},'
        f'"bytes_in":{e.bytes_in},"bytes_out":{e.bytes_out},"duration":{e.duration:.6f},'
        f'"request_id":{quoted(e.request_id.decode("latin-1"))},'
        f'"user_agent":{quoted(e.user_agent.decode("latin-1"))}{tail}}}\n'
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
    """The time of day as RFC 3339 text, formatted once a second."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def text(self, now: float) -> str:
        """`now` in seconds since the epoch, to the millisecond."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        return f"{self._text}{int((now - second) * 1000):03d}Z"


class AccessLogFile:
    """Lines on their way to one file or standard output."""

    def __init__(self, to: str) -> None:
        """Opens it. Raises LogError."""
        self.to = to
        self.lost = 0
        self._lines: list[str] = []
        self._batches: queue.Queue[bytes] = queue.Queue(QUEUED_BATCHES)
        self._clock = Clock()
        try:
            self._fd = _open(to)
        except OSError as error:
            raise LogError(f"cannot write the access log {to}: {error.strerror}") from None
        self._thread = threading.Thread(target=self._write, name=f"access-log {to}", daemon=True)
        self._thread.start()

    def add(self, form: Format, place: str, entry: Entry) -> None:
        """One request is over."""
        lines = self._lines
        lines.append(form(self._clock.text(time.time()), place, entry))
        if len(lines) >= FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Hands what there is to the thread."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            self._batches.put_nowait("".join(lines).encode())
        except queue.Full:
            self.lost += len(lines)

    def close(self) -> None:
        """Writes what is left and closes."""
        self.flush()
        self._batches.put(_stop)
        self._thread.join(timeout=5.0)
        if self._fd > 2:
            os.close(self._fd)

    def _write(self) -> None:
        while (batch := self._batches.get()) != _stop:
            try:
                while batch:
                    batch = batch[os.write(self._fd, batch) :]
            except OSError as error:
                self.lost += batch.count(b"\n")
                logging.getLogger(__name__).warning("the access log %s cannot be written: %s", self.to, error.strerror)


def _open(to: str) -> int:
    if to == "stdout":
        return sys.stdout.fileno()
    if to == "stderr":
        return sys.stderr.fileno()
    return os.open(Path(to), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
