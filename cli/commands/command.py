"""What all commands share: the `--json` flag, examples under the help, and how a document is printed.

The rule: a document goes to standard output, as JSON or as people's text made from the very same document; warnings
go to standard error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import click

DEFAULT_FILE = "/etc/lbctl/lb.yaml"


@dataclass(slots=True)
class Invocation:
    """How lbctl was called: json is whether a document is wanted instead of text."""

    json: bool = False


class Seconds(click.ParamType[float]):
    """A time such as `60s` or `10m`, as seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds of the text."""
        from cli.config.values import duration

        if isinstance(value, float):
            return value
        try:
            return duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Command(click.Command):
    """A command that also takes `--json` after its name, and shows examples."""

    def __init__(self, *arguments: Any, examples: Iterable[str] = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = tuple(examples)
        if not any("--json" in parameter.opts for parameter in self.params):
            self.params.append(_json_option())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the examples."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write_text(example)


def _json_option() -> click.Option:
    def chosen(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            ctx.ensure_object(Invocation).json = True

    return click.Option(
        ["--json"], is_flag=True, expose_value=False, callback=chosen, help="Print one JSON document instead of text."
    )


def command(name: str, *examples: str) -> Callable[[Callable[..., None]], Command]:
    """Makes a function a Command of this name with these examples."""

    def made(function: Callable[..., None]) -> Command:
        return click.command(name, cls=Command, examples=examples)(function)

    return made


def file_argument(function: Callable[..., None]) -> Callable[..., None]:
    """The FILE argument, which defaults to /etc/lbctl/lb.yaml. Whether it can be read is said where it is read."""
    return click.argument("file", default=DEFAULT_FILE, type=click.Path(readable=False), metavar="[FILE]")(function)


def wants_json() -> bool:
    """Whether `--json` was given, before the command's name or after it."""
    return click.get_current_context().ensure_object(Invocation).json


def present(document: Any, text: Callable[[Any], str]) -> None:
    """Prints a document: as JSON with `--json`, else the text made from it."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False) if wants_json() else text(document))


def warn(lines: Iterable[str]) -> None:
    """Prints warnings, one a line, on standard error."""
    for line in lines:
        click.echo(f"{click.style('warning:', fg='yellow')} {line}", err=True)
