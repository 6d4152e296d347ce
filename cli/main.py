"""`lbctl`: the group of all commands, and the one place where errors become messages and exit statuses.

The rule: nothing heavy is imported here; a command's module is imported when it is called. Exit status 0 done,
1 could not be done, 2 wrong usage or a configuration that does not validate, 130 ended by Ctrl-C.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from importlib import import_module
from typing import TextIO

import click

from cli.commands import COMMANDS
from cli.commands.command import Invocation

INTERRUPTED = 130
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class Refused(click.ClickException):
    """What a command could not do, or a file that does not validate: said in lines, with an exit status."""

    def __init__(self, command: str | None, error: Exception) -> None:
        super().__init__(str(error))
        self.exit: int = getattr(error, "exit", 1)
        lines: tuple[str, ...] = tuple(getattr(error, "lines", ()))
        # The lines of a file that does not validate say it all.
        validated = self.exit == 2 and lines
        self.lines = lines if validated else (f"lbctl {command}: {error}", *lines)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        # What is imported stays: looking for garbage meanwhile would take a tenth of the time of a short command.
        gc.disable()
        found = getattr(import_module(f"cli.commands.{entry.module}"), entry.function or cmd_name)
        gc.enable()
        assert isinstance(found, click.Command)
        return found

    def invoke(self, ctx: click.Context) -> object:
        """Calls the command. Raises Refused for errors that are for people."""
        try:
            return super().invoke(ctx)
        except _refusals() as error:
            raise Refused(ctx.invoked_subcommand, error) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with a suggestion for a word that is no command."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from cli.config.errors import meant

            ctx.fail(f"there is no command {args[0]!r}{meant(args[0], COMMANDS) or '; see lbctl --help'}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands under their headings."""
        for heading in dict.fromkeys(entry.heading for entry in COMMANDS.values()):
            rows = [(name, entry.summary) for name, entry in COMMANDS.items() if entry.heading == heading]
            with formatter.section(heading):
                formatter.write_dl(rows, col_max=16)


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"lbctl {version('lbctl')}")
    except PackageNotFoundError:
        click.echo("lbctl, not installed")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--json", is_flag=True, help="Print one JSON document instead of text.")
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
)
@click.pass_context
def lbctl(ctx: click.Context, json: bool) -> None:
    """A load balancer for Linux: layer 4 in the kernel, layer 7 as a proxy, one file for both.

    `lbctl COMMAND --help` has the options and examples of each command.
    """
    ctx.obj = Invocation(json)
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> None:
    """Runs the command line and exits with its status."""
    sys.exit(status())


def status(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    try:
        answer = lbctl.main(arguments, prog_name="lbctl", standalone_mode=False)
        if sys.stdout is not None:  # closed by who started it
            sys.stdout.flush()
        return answer if isinstance(answer, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _told(error)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # What reads our output has seen enough.
        _discard(sys.stdout)
        return 0
    except OSError as error:
        if error.errno not in FULL:
            raise
        _discard(sys.stdout)
        click.echo(f"lbctl: cannot write the output: {error.strerror}", err=True)
        return 1


def _discard(stream: TextIO) -> None:
    """Sends the rest of a stream nowhere: Python would complain once more when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _told(error: click.ClickException) -> int:
    if isinstance(error, Refused):
        click.echo("\n".join(error.lines), err=True)
        return error.exit
    context = getattr(error, "ctx", None)
    name = context.command_path if context is not None else "lbctl"
    click.echo(f"{name}: {error.format_message()}", err=True)
    if isinstance(error, click.UsageError) and context is not None:
        click.echo(context.get_usage(), err=True)
    return error.exit_code


def _refusals() -> tuple[type[Exception], ...]:
    """The errors that are for people. Evaluated only when something was raised, so that it costs no start."""
    from cli.config.errors import ConfigError
    from cli.operations.error import OperationError

    return ConfigError, OperationError
