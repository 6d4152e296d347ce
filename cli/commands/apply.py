"""`lbctl apply`, `confirm`, `rollback` and `flush`: what changes the kernel as a whole.

The rule: what was done is told with the same lines with which `plan` told it before.
"""

from __future__ import annotations

from typing import Any

import click

from cli.commands.command import Seconds, command, file_argument, present, warn
from cli.commands.plan import change_line, flows_line, overrides_text
from cli.operations import perform
from cli.output import paragraphs

CHANGES_SHOWN = 40


@command("apply", "lbctl apply lb.yaml", "lbctl apply --confirm 60s lb.yaml && lbctl confirm")
@file_argument
@click.option("--confirm", type=Seconds(), metavar="TIME", help="Roll back after TIME unless `lbctl confirm` comes.")
def apply(file: str, confirm: float | None) -> None:
    """Bring FILE into force in one atomic kernel transaction: all of it or nothing.

    Flows of what does not change go on. With --confirm, what was in force before comes back by itself unless
    `lbctl confirm` comes in time.
    """
    document = perform("apply", {"path": file, "confirm": confirm})
    warn(document["warnings"])
    present(document, text)


@command("confirm", "lbctl confirm")
def confirm() -> None:
    """Keep what `lbctl apply --confirm` brought into force."""
    document = perform("confirm", {})
    present(document, lambda _: "Confirmed: it stays in force.")


@command("rollback", "lbctl rollback")
def rollback() -> None:
    """Bring back what was in force before the last `lbctl apply`."""
    document = perform("rollback", {})
    warn(document["warnings"])
    present(document, text)


@command("flush", "lbctl flush")
def flush() -> None:
    """Remove all that lbctl put into the kernel, and nothing else."""
    present(perform("flush", {}), flushed)


def text(document: dict[str, Any]) -> str:
    """The changes, what is in force now, and the flows."""
    wait = document.get("confirm")
    until = f" Rolled back in {wait:g} s unless `lbctl confirm` comes." if wait else ""
    file = document.get("file")
    head = f"{file} is in force." if file else "Nothing is in force."
    return paragraphs(
        changes_text(document["changes"]),
        overrides_text(document.get("overrides", [])),
        f"{head} {flows_line(document['flows'])}{until}",
    )


def flushed(document: dict[str, Any]) -> str:
    """Whether there was anything to remove."""
    return "All of lbctl is out of the kernel." if document["removed"] else "Nothing of lbctl was in the kernel."


def changes_text(changes: list[dict[str, Any]]) -> str:
    """The changes, a line each, and how many more there are."""
    lines = [change_line(change) for change in changes[:CHANGES_SHOWN]]
    if len(changes) > CHANGES_SHOWN:
        lines.append(f"… and {len(changes) - CHANGES_SHOWN:,} more")
    return "\n".join(lines) or "Nothing to change."
