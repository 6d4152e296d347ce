"""lbctl(1), the manual page, made from what `--help` says.

The rule: pure, from the commands to roff; nothing about a command is written down a second time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from cli.commands import COMMANDS
from cli.commands.command import Command

HEAD = r"""
.\" Made by `make reference` from what `lbctl COMMAND --help` says; edit the texts there.
.TH LBCTL 1 "" "lbctl" "System administration"
.SH NAME
lbctl \- a load balancer for Linux
.SH SYNOPSIS
.B lbctl
[\fB\-\-json\fR] \fICOMMAND\fR [\fIARGUMENT\fR ...]
.SH DESCRIPTION
At layer 4 the kernel balances TCP and UDP by NAT, programmed in one atomic transaction and needing no process to go on.
At layer 7 a proxy reads HTTP requests. One configuration file and one command for both.
.PP
While
.B lbctl run
is up, the other commands have it do the work; else they work on their own.
"""

TAIL = r"""
.SH EXIT STATUS
0 done, 1 could not be done, 2 wrong usage or a configuration that does not validate, 130 ended by Ctrl-C.
.SH ENVIRONMENT
.TP
.B LBCTL_RUN_DIR
Holds the control socket (/run/lbctl).
.TP
.B LBCTL_STATE_DIR
Holds what was applied (/var/lib/lbctl).
.TP
.B NO_COLOR
Plain text on a terminal too.
.SH FILES
.TP
.I /etc/lbctl/lb.yaml
The configuration;
.B lbctl schema
prints its grammar.
.SH SEE ALSO
.BR nft (8),
.BR conntrack (8)
"""


def man_page(group: click.Group) -> str:
    """The whole page, in the order of `lbctl --help`."""
    context = click.Context(group, info_name="lbctl")
    lines = [HEAD.strip()]
    for heading in dict.fromkeys(entry.heading for entry in COMMANDS.values()):
        lines.append(f".SH {_escaped(heading.upper())}")
        for name in [name for name, entry in COMMANDS.items() if entry.heading == heading]:
            lines += _commands(group, name, context)
    return "\n".join([*lines, TAIL.strip()]) + "\n"


def _commands(group: click.Group, name: str, parent: click.Context) -> Iterator[str]:
    """A command, and those below it."""
    command = group.get_command(parent, name)
    if command is None:
        return
    context = click.Context(command, info_name=name, parent=parent)
    yield from _section(command, context)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from _commands(command, inner, context)


def _section(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SS {_escaped(f'{context.command_path} {usage}')}"
    yield "\n.PP\n".join(
        _escaped(" ".join(part.split())) for part in re.split(r"\n\s*\n", (command.help or "").strip())
    )
    for option, text in filter(None, (parameter.get_help_record(context) for parameter in command.params)):
        if text and option != "--json":
            yield f".TP\n\\fB{_escaped(option)}\\fR\n{_escaped(' '.join(text.split()))}"
    if isinstance(command, Command) and command.examples:
        yield "\n".join([".PP", ".RS", ".nf", *map(_escaped, command.examples), ".fi", ".RE"])


def _escaped(text: str) -> str:
    """The text as roff shows it: a hyphen is one to copy, a leading point or quote no request."""
    written = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{written}" if written.startswith((".", "'")) else written
