"""`lbctl drain`, `enable`, `disable` and `weight`: one backend changed at once.

The rule: what is set here is remembered apart from the file until it is undone here.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from cli.commands.command import Seconds, command, present, wants_json, warn
from cli.commands.names import BACKEND, SERVICE
from cli.operations import perform
from cli.operations.error import OperationError
from cli.output import bold, coloured, counted

ASKED_EVERY = 0.5


def _backend(function: Any) -> Any:
    """The arguments SERVICE and BACKEND."""
    return click.argument("service", type=SERVICE)(click.argument("backend", type=BACKEND)(function))


@command("drain", "lbctl drain web 10.0.1.2:8080", "lbctl drain --wait --timeout 5m web 10.0.1.2:8080")
@_backend
@click.option("--wait", is_flag=True, help="Return when its last flow is gone.")
@click.option("--timeout", type=Seconds(), metavar="TIME", help="With --wait: give up after TIME, exit 1.")
def drain(service: str, backend: str, wait: bool, timeout: float | None) -> None:
    """Send no new flow to BACKEND; those it has live on. Undone by `lbctl enable`."""
    if timeout is not None and not wait:
        raise click.UsageError("--timeout goes with --wait")
    document = _changed("drain", service, backend)
    if wait:
        document = _waited(document, service, backend, timeout)
    present(document, text)


@command("enable", "lbctl enable web 10.0.1.2:8080")
@_backend
def enable(service: str, backend: str) -> None:
    """Send new flows to BACKEND again; ends what `drain` or `disable` set."""
    present(_changed("enable", service, backend), text)


@command("disable", "lbctl disable web 10.0.1.2:8080")
@_backend
def disable(service: str, backend: str) -> None:
    """Send no new flow to BACKEND, and end those it has. Undone by `lbctl enable`."""
    present(_changed("disable", service, backend), text)


@command("weight", "lbctl weight web 10.0.1.2:8080 3")
@_backend
@click.argument("weight", type=click.IntRange(0, 65535), metavar="N")
def weight(service: str, backend: str, weight: int) -> None:
    """Give BACKEND the weight N, from 0 (no new flow) to 65535, whatever the file says."""
    present(_changed("weight", service, backend, weight=weight), text)


def _changed(name: str, service: str, backend: str, **more: Any) -> dict[str, Any]:
    document: dict[str, Any] = perform(name, {"service": service, "backend": backend, **more})
    warn(document.get("warnings", []))
    return document


def _waited(document: dict[str, Any], service: str, backend: str, timeout: float | None) -> dict[str, Any]:
    """Asks until no flow is left, and shows the count where a terminal reads it."""
    end = None if timeout is None else time.monotonic() + timeout
    live = not wants_json() and sys.stderr.isatty()
    active = document["active"]
    while active:
        if end is not None and time.monotonic() >= end:
            raise OperationError(f"{backend} of {service} still has {counted(active, 'flow')}; it stays draining")
        if live:
            click.echo(f"\r\x1b[K{counted(active, 'flow')} left", nl=False, err=True)
        time.sleep(ASKED_EVERY)
        active = perform("active", {"service": service, "backend": backend})["active"]
    if live:
        click.echo("\r\x1b[K", nl=False, err=True)
    return {**document, "active": 0}


def text(document: dict[str, Any]) -> str:
    """What the backend is now."""
    whose = f"{bold(document['service'])} {document['backend']}"
    flows = counted(document["active"], "active flow")
    return f"{whose}: {coloured(document['admin'])}, weight {document['weight']}, {flows}"
