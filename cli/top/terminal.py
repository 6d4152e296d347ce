"""The terminal of `lbctl top`: keys in, screens out, and everything as before when it ends.

The rule: it draws what `screen` returns and does what a key says by the operations of the commands.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from cli.operations import perform
from cli.operations.error import OperationError
from cli.top.rates import Rates, after, backends_of
from cli.top.screen import View, keys_of, screen

KEYS = {b"\x1b[A": "up", b"k": "up", b"\x1b[B": "down", b"j": "down", b"q": "quit", b"\x03": "quit"}
KEYS |= {b"d": "drain", b"e": "enable", b"x": "disable", b"+": "more", b"=": "more", b"-": "less"}
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


def watch(every: float) -> None:
    """Shows the screen until `q` or Ctrl-C. Raises OperationError when the first status cannot be had."""
    document = perform("status", {})
    with _raw_terminal():
        _loop(document, every)


def _loop(document: dict[str, Any], every: float) -> None:
    rates, view, due = after(Rates(), document, time.monotonic()), View(), time.monotonic() + every
    while True:
        _draw(document, rates, view)
        name = _key(max(0.0, due - time.monotonic()))
        if name == "quit":
            return
        if name:
            view = _done(name, view, document)
        if name not in (None, "up", "down") or time.monotonic() >= due:
            document, view = _fresh(document, view)
            rates, due = after(rates, document, time.monotonic()), time.monotonic() + every


def _fresh(document: dict[str, Any], view: View) -> tuple[dict[str, Any], View]:
    try:
        found: dict[str, Any] = perform("status", {})
    except OperationError as error:
        return document, replace(view, message=str(error))
    return found, replace(view, chosen=min(view.chosen, max(0, len(keys_of(found)) - 1)))


def _done(name: str, view: View, document: dict[str, Any]) -> View:
    """What the view is after a key; changes are made at once."""
    rows = list(backends_of(document))
    if not rows:
        return view
    if name in ("up", "down"):
        step = -1 if name == "up" else 1
        return View(max(0, min(len(rows) - 1, view.chosen + step)))
    (service, backend), item = rows[view.chosen]
    arguments: dict[str, Any] = {"service": service, "backend": backend}
    if name in ("more", "less"):
        arguments["weight"] = max(0, item["weight"] + (1 if name == "more" else -1))
        name = "weight"
    try:
        changed = perform(name, arguments)
    except OperationError as error:
        return replace(view, message=str(error))
    said = f"{service} {backend}: {changed['admin']}, weight {changed['weight']}"
    return replace(view, message="; ".join([said, *changed["warnings"]]))


def _draw(document: dict[str, Any], rates: Rates, view: View) -> None:
    width, height = shutil.get_terminal_size()
    lines = screen(document, rates, view, width, height)
    sys.stdout.write("\x1b[H" + "\x1b[K\r\n".join(lines) + "\x1b[K\x1b[J")
    sys.stdout.flush()


def _key(seconds: float) -> str | None:
    """The name of the key that is pressed within the time; None is a pause, an empty name a key without meaning."""
    ready, _, _ = select.select([sys.stdin.fileno()], [], [], seconds)
    if not ready:
        return None
    pressed = os.read(sys.stdin.fileno(), 16)
    return KEYS.get(pressed, "") if pressed else "quit"


@contextmanager
def _raw_terminal() -> Iterator[None]:
    before = termios.tcgetattr(sys.stdin.fileno())
    try:
        tty.setraw(sys.stdin.fileno())
        sys.stdout.write(ENTER)
        yield
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
