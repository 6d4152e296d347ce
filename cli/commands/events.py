"""`lbctl events`: what changed, when and why.

The rule: it reads the log in the state directory, which is written with and without `lbctl run`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from cli import events as log
from cli.commands.command import command, present, wants_json
from cli.commands.events_text import written
from cli.operations.context import state_directory

POLL = 0.3
"""Seconds between two looks with --follow."""


@command("events", "lbctl events", "lbctl events --last 5", "lbctl events --follow")
@click.option("--last", type=click.IntRange(min=1), default=50, show_default=True, help="How many, the newest.")
@click.option("--follow", "-f", is_flag=True, help="Go on with new ones until Ctrl-C.")
def events(last: int, follow: bool) -> None:
    """Show what changed, when and why: health, drains, applies, drift."""
    directory = state_directory(os.environ)
    known = log.read(directory)
    if not follow:
        present(known[-last:], lambda found: "\n".join(map(written, found)) or "no events yet")
        return
    for event in known[-last:]:
        _echo(event)
    _follow(directory, len(known))


def _follow(directory: Path, seen: int) -> None:
    while True:
        time.sleep(POLL)
        known = log.read(directory)
        for event in known[min(seen, len(known)) :]:
            _echo(event)
        seen = len(known)


def _echo(event: log.Event) -> None:
    present(event, written) if wants_json() else click.echo(written(event))
