"""`lbctl top`: services and backends as a terminal screen.

The rule: the screen belongs to `cli.top`; here it is only called.
"""

from __future__ import annotations

import sys

import click

from cli.commands.command import Seconds, command


@command("top", "lbctl top", "ssh -t balancer sudo lbctl top")
@click.option("--every", type=Seconds(), default="1s", metavar="TIME", show_default=True, help="Refresh every TIME.")
def top(every: float) -> None:
    """Show services and backends as a screen that refreshes: health, active and new connections, bytes, and a line of
    the last connection rates. Keys drain, enable, disable and weigh the chosen backend.
    """
    from cli.top.terminal import watch

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.ClickException("this takes a terminal; use `lbctl status --watch` in a pipe")
    watch(max(every, 0.1))
