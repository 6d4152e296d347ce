"""`lbctl check`: reads and validates a file.

The rule: it touches nothing and needs no root.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from cli.commands.command import command, file_argument, present, wants_json, warn
from cli.config.errors import ConfigError, written_path
from cli.config.files import file_warnings
from cli.config.loader import load
from cli.config.model import Configuration
from cli.config.reading import given_text
from cli.output import counted


@command("check", "lbctl check lb.yaml", "lbctl --json check lb.yaml", "lbctl import envoy envoy.yaml | lbctl check -")
@file_argument
def check(file: str) -> None:
    """Validate FILE (default /etc/lbctl/lb.yaml, `-` for standard input): every error with its line, the keys that
    lead to it, and what would be right. Touches nothing, needs no root.

    Exit status: 0 valid, 2 not.
    """
    try:
        configuration = load(given_text(file), file)
        warnings = (*configuration.warnings, *file_warnings(configuration))
    except ConfigError as error:
        if wants_json():
            present(refused(error), str)
        raise
    warn(warnings)
    present(accepted(configuration, warnings), text)


def accepted(configuration: Configuration, warnings: Sequence[str]) -> dict[str, Any]:
    """The document of a valid file."""
    services = configuration.services.values()
    return {
        "file": configuration.origin,
        "valid": True,
        "listeners": len(configuration.listeners),
        "services": len(configuration.services),
        "backends": sum(len(service.backends) + len(service.names) for service in services),
        "warnings": list(warnings),
    }


def refused(error: ConfigError) -> dict[str, Any]:
    """The document of a file that is not valid."""
    problems = [{"line": p.line, "path": written_path(p.path), "message": p.message} for p in error.problems]
    return {"file": error.origin, "valid": False, "errors": problems}


def text(document: dict[str, Any]) -> str:
    """One line that says what the file has."""
    counts = ", ".join(counted(document[key], key[:-1]) for key in ("listeners", "services", "backends"))
    return f"{document['file']}: {click.style('valid', fg='green')}: {counts}"
