"""`lbctl plan`: what `apply` would change, and which live flows it would touch.

The rule: the text names the same changes as the document, one a line.
"""

from __future__ import annotations

from typing import Any

import click

from cli.commands.command import command, file_argument, present, warn
from cli.operations import perform
from cli.output import COLOURS, bold, coloured, counted, faint, paragraphs

SIGNS = {"add": "+", "change": "~", "remove": "-"}


@command("plan", "lbctl plan lb.yaml", "lbctl plan --exit-code lb.yaml || echo there is something to apply")
@file_argument
@click.option("--exit-code", is_flag=True, help="Exit with 1 when there is something to change.")
def plan(file: str, exit_code: bool) -> None:
    """Show what `lbctl apply FILE` would change, object by object, and how many live flows it would keep and end.

    What somebody else changed in the kernel's `lbctl` tables shows as drift, which `apply` mends.
    """
    document = perform("plan", {"path": file})
    warn(document["warnings"])
    present(document, text)
    if exit_code and document["changes"]:
        click.get_current_context().exit(1)


def text(document: dict[str, Any]) -> str:
    """The changes, the operator's settings that stay in force, and the flows."""
    changes = document["changes"]
    lines = "\n".join(change_line(change) for change in changes) or "Nothing to change."
    return paragraphs(lines, overrides_text(document.get("overrides", [])), flows_line(document["flows"]))


def change_line(change: dict[str, Any]) -> str:
    """`+ listener web`, coloured by what happens to it."""
    action = change["action"]
    line = f"{click.style(SIGNS[action], fg=COLOURS[action])} {change['kind']} {bold(change['name'])}"
    detail = f"  {faint(change['detail'])}" if change.get("detail") else ""
    drift = click.style("  drift: changed by somebody else", fg="yellow") if change.get("drift") else ""
    return line + detail + drift


def overrides_text(overrides: list[dict[str, Any]]) -> str:
    """What the operator set apart from the file, a backend a line."""
    if not overrides:
        return ""
    lines = [f"  {item['service']} {item['backend']}: {_override(item)}" for item in overrides]
    return "\n".join(["Set by the operator, and kept:", *lines])


def _override(item: dict[str, Any]) -> str:
    parts = [coloured(item["admin"])] if "admin" in item else []
    return ", ".join(parts + ([f"weight {item['weight']}"] if "weight" in item else []))


def flows_line(flows: dict[str, int]) -> str:
    """`12 live flows kept, 3 ended`."""
    return f"{counted(flows['kept'], 'live flow')} kept, {flows['ended']:,} ended."
