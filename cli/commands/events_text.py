"""Events in words: one line each.

The rule: pure; an event this file does not know is still shown, key by key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

Event = Mapping[str, object]


def written(event: Event) -> str:
    """`2026-03-01 12:00:00  health    web 10.0.1.2:8080 is down: connection refused`."""
    when = datetime.fromtimestamp(float(str(event["time"]))).strftime("%Y-%m-%d %H:%M:%S")
    name = str(event["event"])
    try:
        words = WORDS.get(name, _plain)(event)
    except KeyError:
        words = _plain(event)
    return f"{when}  {name:8}  {words}".rstrip()


def _plain(event: Event) -> str:
    return "  ".join(f"{key} {value}" for key, value in event.items() if key not in ("time", "event"))


def _backend(event: Event) -> str:
    return f"{event['service']} {event['backend']}"


def _health(event: Event) -> str:
    return f"{_backend(event)} is {event['now']}: {event['why']}"


def _open(event: Event) -> str:
    return f"{_backend(event)}, {event['active']} open"


def _weight(event: Event) -> str:
    return f"{_backend(event)} now {event['weight']}"


def _applied(event: Event) -> str:
    changes = str(event["changes"]) or "no change"
    ended = f"; {event['ended']} flows ended" if event["ended"] else ""
    waits = f"; undone in {event['confirm']:g} s unless confirmed" if "confirm" in event else ""
    return f"{event['file'] or 'nothing in force'}: {changes}{ended}{waits}"


def _drift(event: Event) -> str:
    what = "mended" if event["mended"] else "to be mended"
    return f"by {event['by']}; {what}: {event['what']}"


def _worker(event: Event) -> str:
    return f"{event['worker']} ended ({event['exit']}), replaced after {event['after']}"


def _failed(event: Event) -> str:
    about = " ".join(str(event[key]) for key in ("operation", "service", "backend", "path") if key in event)
    return f"{about}: {event['why']}"


WORDS: Mapping[str, Callable[[Event], str]] = {
    "health": _health,
    "drain": _open,
    "enable": _open,
    "disable": _open,
    "weight": _weight,
    "apply": _applied,
    "rollback": _applied,
    "drift": _drift,
    "worker": _worker,
    "failed": _failed,
    "flush": lambda event: "all of lbctl's was removed from the kernel",
    "confirm": lambda event: f"{event['file']} stays",
    "stale": lambda event: f"{event['ended']} flows to what is no longer there were ended",
}
