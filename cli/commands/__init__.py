"""The commands of lbctl, one module each, and what `lbctl --help` says of them without importing any.

The rule: a command parses its arguments, has the operation done by its owner, and prints the document; a module is
imported only when its command is called.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """Where a command is, what is said of it in one line, and the heading it stands under."""

    module: str
    summary: str
    heading: str


CHANGE, SEE, OPERATE, LAB, FILES = "Bring into force", "See", "Operate", "Try out", "Configuration files"

COMMANDS: dict[str, Entry] = {
    "check": Entry("cli.commands.check", "Validate a file; touches nothing, needs no root.", FILES),
    "schema": Entry("cli.commands.schema", "Print the JSON Schema of the configuration file.", FILES),
    "completion": Entry("cli.commands.completion", "Print the completion script of a shell.", FILES),
}
"""By name, in the order of `lbctl --help`."""
