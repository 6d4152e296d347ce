"""`lbctl status`: listeners, services and backends as they are.

The rule: one table for listeners and one for backends, whose columns stay in their order for scripts that cut them.
"""

from __future__ import annotations

import time
from typing import Any

import click

from cli.commands.command import Seconds, command, present, warn
from cli.commands.names import SERVICE
from cli.operations import perform
from cli.output import bold, coloured, faint, number, paragraphs, size, table

LISTENER_COLUMNS = ("LISTENER", "MODE", "PROTOCOL", "BIND", "SERVICE", "REFUSED")
BACKEND_COLUMNS = (
    "SERVICE",
    "SCHEDULER",
    "BACKEND",
    "WEIGHT",
    "HEALTH",
    "ADMIN",
    "ACTIVE",
    "TOTAL",
    "PACKETS",
    "BYTES",
)
NUMBERS = ("WEIGHT", "ACTIVE", "TOTAL", "PACKETS", "BYTES", "REFUSED")
CLEAR = "\x1b[H\x1b[2J"


@command("status", "lbctl status", "lbctl status web", "lbctl status --watch", "lbctl --json status | jq .services")
@click.argument("service", required=False, type=SERVICE)
@click.option("--watch", is_flag=False, flag_value="1s", type=Seconds(), metavar="[TIME]", help="Refresh every TIME.")
def status(service: str | None, watch: float | None) -> None:
    """Show listeners, services and backends: health, admin state, weight, active and total connections, packets and
    bytes of both directions. In mode http requests are counted for connections, bytes are those of bodies, and packets
    are not counted. With SERVICE, that one alone.

    A weight or admin state marked with * was set by the operator, apart from the file.
    """
    while True:
        document = perform("status", {"service": service})
        if watch is not None:
            click.echo(CLEAR, nl=False)
        warn(document.get("warnings", []))
        present(document, text)
        if watch is None:
            return
        time.sleep(max(watch, 0.1))


def text(document: dict[str, Any]) -> str:
    """Both tables."""
    if not document["listeners"] and not document["services"]:
        return "Nothing is in force."
    return paragraphs(listeners_table(document["listeners"]), backends_table(document["services"]))


def listeners_table(listeners: list[dict[str, Any]]) -> str:
    """One line for each bind; what is the same for all binds of a listener stands once."""
    rows = []
    for listener in listeners:
        refused = sum(listener.get("refused", {}).values())
        head = [bold(listener["name"]), listener["mode"], listener["protocol"]]
        tail = [listener.get("service") or faint("-"), number(refused)]
        first, *more = listener["bind"]
        rows.append([*head, first, *tail])
        rows += [["", "", "", bind, "", ""] for bind in more]
    return table(LISTENER_COLUMNS, rows, NUMBERS) if rows else ""


def backends_table(services: list[dict[str, Any]]) -> str:
    """One line for each backend; a service's name stands once."""
    rows = []
    for service in services:
        head = [bold(service["name"]), service["scheduler"]]
        for backend in service["backends"]:
            rows.append([*head, *backend_cells(backend)])
            head = ["", ""]
        if not service["backends"]:
            rows.append([*head, faint("none known"), *[""] * (len(BACKEND_COLUMNS) - 3)])
    return table(BACKEND_COLUMNS, rows, NUMBERS) if rows else ""


def backend_cells(backend: dict[str, Any]) -> list[str]:
    """The cells of one backend, from its address on."""
    override = backend.get("override", {})
    backup = faint(" backup") if backend.get("backup") else ""
    connections = backend["connections"]
    return [
        backend["address"] + backup,
        f"{backend['weight']}{'*' if 'weight' in override else ''}",
        coloured(backend["health"]),
        coloured(backend["admin"]) + ("*" if "admin" in override else ""),
        number(connections["active"]),
        number(connections["total"]),
        number(backend["packets"]),
        size(backend["bytes"]),
    ]
