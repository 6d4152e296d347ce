"""`lbctl completion`: the script that teaches a shell to complete lbctl.

The rule: the script asks lbctl itself, so that names of services and backends are those in force.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from cli.commands.command import command, present

SHELLS = ("bash", "zsh", "fish")


@command(
    "completion",
    "lbctl completion bash > /etc/bash_completion.d/lbctl",
    'lbctl completion zsh > "${fpath[1]}/_lbctl"',
    "lbctl completion fish > ~/.config/fish/completions/lbctl.fish",
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of SHELL. Commands, options, and the services and backends in force complete."""
    from cli.main import lbctl

    made = get_completion_class(shell)
    if made is None:
        raise click.ClickException(f"there is no completion for {shell}")
    document = {"shell": shell, "script": made(lbctl, {}, "lbctl", "_LBCTL_COMPLETE").source()}
    present(document, lambda _: str(document["script"]))
