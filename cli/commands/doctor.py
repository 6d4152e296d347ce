"""`lbctl doctor`: what on this host would break balancing, each with its fix.

The rule: it changes nothing unless `--fix` is given, and then only what is safe.
"""

from __future__ import annotations

from typing import Any

import click

from cli.commands.command import command, present
from cli.operations import perform
from cli.output import bold, coloured, counted, faint


@command(
    "doctor", "lbctl doctor", "lbctl doctor --fix", "lbctl --json doctor | jq '.findings[] | select(.fix != \"\")'"
)
@click.option("--fix", is_flag=True, help="Mend what can be mended without risk.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 when something would break balancing.")
def doctor(fix: bool, exit_code: bool) -> None:
    """Look for what would break balancing on this host: forwarding, reverse-path filter, kernel features, the size
    of the connection table, source ports that run out. Each finding comes with its fix.
    """
    document = perform("doctor", {"fix": fix})
    present(document, text)
    if exit_code and any(f["level"] == "problem" and not f.get("fixed") for f in document["findings"]):
        click.get_current_context().exit(1)


def text(document: dict[str, Any]) -> str:
    """A line for each finding, its fix below it, and how many of each level."""
    findings = document["findings"]
    lines = [line for finding in findings for line in finding_lines(finding)]
    levels = [finding["level"] for finding in findings if not finding.get("fixed")]
    counts = [counted(levels.count(level), level) for level in ("problem", "warning") if level in levels]
    return "\n".join([*lines, ", ".join(counts) or "All is well."])


def finding_lines(finding: dict[str, Any]) -> list[str]:
    """`warning  rp_filter: …`, and below it what to do."""
    level = coloured(finding["level"]) + " " * (8 - len(finding["level"]))
    lines = [f"{level} {bold(finding['name'])}: {finding['what']}"]
    if finding.get("fixed"):
        lines.append(f"         {faint('fixed by:')} {finding['fix']}")
    elif finding["fix"]:
        safe = faint("  (or: lbctl doctor --fix)") if finding["safe"] else ""
        lines.append(f"         {faint('fix:')} {finding['fix']}{safe}")
    return lines
