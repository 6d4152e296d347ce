"""What the operations changed, as events for the log that `lbctl events` shows.

The rule: pure; an operation's event is made from its arguments and its document alone, so it is the same with and
without a running `lbctl run`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Fields = Mapping[str, object]

SHOWN = 6
"""How many changes an event names one by one."""
ADMIN = ("drain", "enable", "disable", "weight")
TOLD = frozenset({"apply", "rollback", "confirm", "flush", *ADMIN})
"""The operations that are told of."""


def news_of(name: str, arguments: Mapping[str, Any], document: Any) -> Iterator[tuple[str, Fields]]:
    """The events of an operation that was done, each a name and its fields."""
    if name in ("apply", "rollback") and document is not None:
        yield from _applied(name, document)
    elif name == "confirm":
        yield name, {"file": document["file"]}
    elif name == "flush" and document["removed"]:
        yield name, {}
    elif name in ADMIN:
        told = {"weight": document["weight"]} if name == "weight" else {"active": document["active"]}
        yield name, {"service": document["service"], "backend": document["backend"], **told}


def _applied(name: str, document: Mapping[str, Any]) -> Iterator[tuple[str, Fields]]:
    drift = [change for change in document["changes"] if change.get("drift")]
    changes = [change for change in document["changes"] if not change.get("drift")]
    if drift:
        yield "drift", {"what": named(drift), "mended": True, "by": name}
    confirm = {"confirm": document["confirm"]} if document["confirm"] is not None else {}
    ended = document["flows"]["ended"]
    yield name, {"file": document["file"], "changes": named(changes), "ended": ended, **confirm}


def named(changes: Iterable[Mapping[str, Any]]) -> str:
    """`add listener web, change backend web 10.0.1.2:8080 and 3 more`, empty where nothing changed."""
    words = [f"{change['action']} {change['kind']} {change['name']}" for change in changes]
    return ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "")


def failure_of(name: str, arguments: Mapping[str, Any], error: str) -> Iterator[tuple[str, Fields]]:
    """The event of an operation that could not be done."""
    if name in TOLD:
        about = {key: arguments[key] for key in ("path", "service", "backend") if key in arguments}
        yield "failed", {"operation": name, **about, "why": error}
