"""The log of events: what changed, when and why, as `lbctl events` shows it.

The rule: one JSON object a line in the state directory, appended in one write so that several processes may; bounded:
past FILE_MAX bytes the file becomes `events.1.jsonl` and a new one begins. An event that cannot be written is lost,
and stops nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

FILE_MAX = 1024 * 1024
NAMES = ("events.1.jsonl", "events.jsonl")
"""The older file first."""

Event = Mapping[str, object]
"""`time` in seconds since 1970, `event` (`health`, `apply`, `drain`, `drift`, …), and what belongs to it."""


def append(directory: Path, time: float, name: str, **fields: object) -> None:
    """Adds an event to the log in the state directory."""
    line = json.dumps({"time": round(time, 3), "event": name, **fields}, ensure_ascii=False).encode() + b"\n"
    with contextlib.suppress(OSError):
        _append(directory / NAMES[1], line)


def _append(path: Path, line: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(handle, line)
        full = os.fstat(handle).st_size > FILE_MAX
    finally:
        os.close(handle)
    if full:
        path.rename(path.with_name(NAMES[0]))


def read(directory: Path) -> list[Event]:
    """All events that are kept, the oldest first."""
    return [event for name in NAMES for event in _events_in(directory / name)]


def _events_in(path: Path) -> Iterator[Event]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        event = parsed(line)
        if event is not None:
            yield event


def parsed(line: bytes) -> Event | None:
    """The event of a line, None where it is none (a write cut short by a full disk)."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event and "time" in event else None
