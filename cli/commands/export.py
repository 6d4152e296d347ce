"""`lbctl export`: the same balancing as a script for those who run it without lbctl.

The rule: it works on the file alone and needs no root.
"""

from __future__ import annotations

import click

from cli.commands.command import command, file_argument, present, warn
from cli.operations import perform


@command("export", "lbctl export lb.yaml | nft -f -", "lbctl export --format iptables lb.yaml | iptables-restore -n")
@file_argument
@click.option(
    "--format", "format_", type=click.Choice(["nft", "iptables", "ip6tables"]), default="nft", show_default=True
)
def export(file: str, format_: str) -> None:
    """Print what lbctl would put into the kernel for FILE, as an nft script or as input of iptables-restore."""
    document = perform("export", {"path": file, "format": format_})
    warn(document.get("warnings", []))
    present(document, lambda made: str(made["text"]).rstrip("\n"))
