"""`lbctl schema`: the JSON Schema of the configuration file.

The rule: it is made from the very models that validate.
"""

from __future__ import annotations

import json

import click

from cli.commands.command import command


@command("schema", "lbctl schema > lbctl.schema.json", "# yaml-language-server: $schema=lbctl.schema.json")
def schema() -> None:
    """Print the JSON Schema of the configuration file: with it, editors complete and check lb.yaml."""
    from cli.config.reference import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
