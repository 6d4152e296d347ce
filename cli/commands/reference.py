"""The reference of all commands as Markdown, made from what `--help` says.

The rule: pure, from the commands to text; nothing about a command is written down a second time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from cli.commands import COMMANDS
from cli.commands.command import Command

HEAD = """\
# The commands

<!-- Made by `make reference` from what `lbctl COMMAND --help` says; edit the texts there. -->

`lbctl [--json] COMMAND`. With `--json`, which may also stand after the command, a command that prints a result prints
one JSON document on standard output. Text is coloured on a terminal, plain in a pipe and with `NO_COLOR` set. Errors
and warnings go to standard error. A FILE may be `-`, standard input, of all commands but `run`, which reads it again.

Exit status: 0 done, 1 could not be done, 2 wrong usage or a configuration that does not validate, 130 ended by Ctrl-C.

While `lbctl run` is up, the other commands have it do the work, through the socket in `LBCTL_RUN_DIR` (default
`/run/lbctl`); else they work on their own. What was applied is kept in `LBCTL_STATE_DIR` (default `/var/lib/lbctl`).
"""


def commands_reference(group: click.Group) -> str:
    """The whole page, in the order of `lbctl --help`."""
    context = click.Context(group, info_name="lbctl")
    parts = [HEAD]
    for heading in dict.fromkeys(entry.heading for entry in COMMANDS.values()):
        parts.append(f"## {heading}\n")
        for name in [name for name, entry in COMMANDS.items() if entry.heading == heading]:
            command = group.get_command(context, name)
            if command is not None:
                parts += _section(command, name, context)
    return "\n".join(parts).rstrip() + "\n"


def _section(command: click.Command, name: str, parent: click.Context, level: int = 3) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    yield f"{'#' * level} `{' '.join([context.command_path, *command.collect_usage_pieces(context)])}`\n"
    yield f"{_flowing(command.help or '')}\n"
    rows = [record for parameter in command.params if (record := parameter.get_help_record(context))]
    options = [(option.replace("|", "\\|"), text) for option, text in rows if text and option != "--json"]
    if options:
        yield "| option | |\n|---|---|"
        yield from (f"| `{option}` | {_flowing(text)} |" for option, text in options)
        yield ""
    if isinstance(command, Command) and command.examples:
        yield "\n".join(["```sh", *command.examples, "```", ""])
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            if found is not None:
                yield from _section(found, inner, context, level + 1)


def _flowing(text: str) -> str:
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
