"""Writes the reference pages: `python -m cli.reference docs/reference`.

The rule: it writes what the pure printers return and nothing else; a test holds the pages to that.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cli.commands.man import man_page
from cli.commands.reference import commands_reference
from cli.config.reference import json_schema
from cli.config.reference_text import configuration_reference
from cli.main import lbctl
from cli.metrics.catalogue import metrics_reference


def pages() -> dict[str, str]:
    """The text of each page by the name of its file."""
    return {
        "configuration.md": configuration_reference(json_schema()),
        "commands.md": commands_reference(lbctl),
        "metrics.md": metrics_reference(),
        "lbctl.1": man_page(lbctl),
    }


if __name__ == "__main__":
    for name, text in pages().items():
        (Path(sys.argv[1]) / name).write_text(text, encoding="utf-8")
