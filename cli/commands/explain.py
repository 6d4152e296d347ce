"""`lbctl explain`: what would happen to a packet or request, and why.

The rule: nothing is sent; the answer comes from the same ruleset and routes that are in force.
"""

from __future__ import annotations

from typing import Any

import click

from cli.commands.command import command, present
from cli.operations import perform
from cli.output import bold, coloured, faint, paragraphs, table


@command(
    "explain",
    "lbctl explain tcp 10.0.0.2:41000 192.0.2.10:80",
    "lbctl explain http GET https://api.example.org/payments -H 'Authorization: x'",
)
@click.argument("protocol", type=click.Choice(["tcp", "udp", "http"]))
@click.argument("client", metavar="CLIENT|METHOD")
@click.argument("target", metavar="TARGET|URL")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header, for http.")
def explain(protocol: str, client: str, target: str, headers: tuple[str, ...]) -> None:
    """Say what would happen to a packet from CLIENT to TARGET, and why: listener, filters, affinity, scheduler,
    backend, both translations. With `http`, what would happen to a request: route, auth, service.
    """
    if headers and protocol != "http":
        raise click.UsageError(f"-H goes with http, not with {protocol}")
    arguments: dict[str, Any] = {"protocol": protocol, "client": client, "target": target}
    document = perform("explain", arguments | ({"headers": list(headers)} if headers else {}))
    present(document, text)


def text(document: dict[str, Any]) -> str:
    """The verdict, the steps to it, and the backends it may go to."""
    steps = "\n".join(f"{number:>3}. {step}" for number, step in enumerate(document["steps"], 1))
    return paragraphs(verdict(document), steps, candidates_table(document))


def verdict(document: dict[str, Any]) -> str:
    """`forward  listener web, service web, backend 10.0.1.2:8080`."""
    named = [f"{key} {bold(document[key])}" for key in ("listener", "route", "service", "backend") if document.get(key)]
    return f"{coloured(document['verdict'])}  {', '.join(named) or faint('no listener')}"


def candidates_table(document: dict[str, Any]) -> str:
    """The backends and how probable each is."""
    candidates = document["candidates"]
    rows = [(item["backend"], f"{item['probability']:.1%}") for item in candidates]
    return table(("BACKEND", "PROBABILITY"), rows, ("PROBABILITY",)) if rows else ""
