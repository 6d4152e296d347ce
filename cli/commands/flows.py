"""`lbctl flows`: the live flows with all four addresses.

The rule: a line reads as the article's table: what the client sends, then what the backend gets.
"""

from __future__ import annotations

from typing import Any

import click

from cli.commands.command import command, present
from cli.commands.names import BACKEND, SERVICE
from cli.operations import perform
from cli.output import bold, counted, faint, number, size, table

COLUMNS = ("SERVICE", "PROTOCOL", "CLIENT", "TARGET", "SOURCE", "BACKEND", "STATE", "PACKETS", "BYTES")


@command("flows", "lbctl flows", "lbctl flows --service web --client 10.0.0.0/24", "lbctl --json flows | jq length")
@click.option("--service", type=SERVICE, help="Only flows of this service.")
@click.option("--backend", type=BACKEND, metavar="ADDRESS", help="Only flows to this backend.")
@click.option("--client", metavar="ADDRESS", help="Only flows from this address or prefix.")
def flows(service: str | None, backend: str | None, client: str | None) -> None:
    """List the live flows: CLIENT to TARGET is what the client sends, SOURCE to BACKEND what the backend gets."""
    document = perform("flows", {"service": service, "backend": backend, "client": client})
    present(document, text)


def text(document: list[dict[str, Any]]) -> str:
    """The table and how many there are."""
    if not document:
        return "No live flow."
    rows = (cells(flow) for flow in document)
    return f"{table(COLUMNS, rows, ('PACKETS', 'BYTES'))}\n{counted(len(document), 'flow')}"


def cells(flow: dict[str, Any]) -> list[str]:
    """The cells of one flow."""
    return [
        bold(flow["service"]),
        flow["protocol"],
        flow["client"],
        flow["target"],
        flow["source"],
        flow["backend"],
        flow["state"] or faint("-"),
        number(sum(flow["packets"])),
        size(sum(flow["bytes"])),
    ]
