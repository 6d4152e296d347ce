"""`lbctl trace`: live packets as the article draws them.

The rule: it looks at packets as they pass the interfaces and changes nothing: no rule and no setting to take away.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path
from typing import Any, BinaryIO, cast

import click

from cli.commands.command import command, wants_json
from cli.commands.names import BACKEND, LISTENER
from cli.operations.error import OperationError
from lb4.address import AddressError, Endpoint, parse_endpoint
from lb4.model import Balancer, IPNetwork


class Prefix(click.ParamType[Any]):
    """An address or a prefix."""

    name = "prefix"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> IPNetwork:
        """The prefix; an address is one of full length."""
        try:
            return ip_network(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Address(click.ParamType[Endpoint]):
    """An address with or without a port."""

    name = "address"
    shell_complete = BACKEND.shell_complete

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Endpoint:
        """The endpoint."""
        try:
            return parse_endpoint(value)
        except AddressError as error:
            self.fail(str(error), param, ctx)


@command("trace", "lbctl trace", "lbctl trace --listener web --count 20", "lbctl trace --write web.pcapng")
@click.option("--listener", type=LISTENER, metavar="NAME", help="Only packets of this listener.")
@click.option("--client", type=Prefix(), metavar="ADDRESS", help="Only packets of clients of this address or prefix.")
@click.option("--backend", type=Address(), metavar="ADDRESS", help="Only packets from or to this backend.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many packets.")
@click.option("--write", "path", type=click.Path(dir_okay=False), help="Also write them to a pcapng file.")
def trace(
    listener: str | None, client: IPNetwork | None, backend: Endpoint | None, count: int | None, path: str | None
) -> None:
    """Show live packets before and after the balancer, requests and responses, with their flow's number, TCP's flags,
    how long the balancer took and the time since the flow's last packet. With --json one document a line.
    """
    from cli.operations.context import require_root
    from cli.trace.pcapng import PcapngWriter
    from cli.trace.told import HEADING, document, line
    from cli.trace.watch import Wanted, watch

    require_root("trace")
    balancer = in_force(listener)
    as_json = wants_json()
    with ExitStack() as stack:
        writer = PcapngWriter(stack.enter_context(_opened(path))) if path else None
        if not as_json:
            click.echo(HEADING)
        try:
            for passage in watch(balancer, Wanted(listener, client, backend), count):
                click.echo(json.dumps(document(passage)) if as_json else line(passage))
                if writer is not None:
                    writer.passage(passage)
        except PermissionError:
            raise OperationError("lbctl trace takes root (CAP_NET_RAW): run it with sudo") from None


def _opened(path: str) -> BinaryIO:
    try:
        return cast(BinaryIO, Path(path).open("wb"))
    except OSError as error:
        raise OperationError(f"cannot write {path}: {error.strerror}") from None


def in_force(listener: str | None) -> Balancer:
    """The balancer in force. Raises OperationError where there is none, or it has no such listener."""
    from cli.operations.context import state_directory
    from cli.operations.wanted import NOTHING_APPLIED, configured
    from cli.state import State

    remembered = State(state_directory(os.environ)).applied()
    if remembered is None:
        raise OperationError(NOTHING_APPLIED)
    balancer = configured(remembered).balancer
    if listener is not None and listener not in balancer.listeners:
        known = ", ".join(sorted(balancer.listeners))
        raise OperationError(f"there is no listener {listener!r} in force; there are {known}")
    return balancer
