"""`lbctl import envoy`: a configuration of another proxy as one of lbctl.

The rule: what is printed validates; what cannot be imported is told with its place, and then nothing is printed.
"""

from __future__ import annotations

import click

from cli.commands.command import command, present, warn


@command("import", "lbctl import envoy envoy.yaml > lb.yaml", "lbctl import envoy - < envoy.json")
@click.argument("proxy", type=click.Choice(["envoy"]), metavar="envoy")
@click.argument("file", type=click.Path(readable=False, allow_dash=True))
def import_(proxy: str, file: str) -> None:
    """Print the Envoy v2 or v3 static configuration in FILE (YAML or JSON, `-` for standard input) as a configuration
    of lbctl. Comments in it say what differs.

    Exit status: 0 done, 2 something in it cannot be imported.
    """
    from cli.config.loader import load
    from cli.config.reading import given_text
    from cli.envoy.convert import imported

    made = imported(given_text(file), file)
    warn(load(made, f"{file} as imported").warnings)
    present({"file": file, "configuration": made}, lambda document: str(document["configuration"]).rstrip("\n"))
