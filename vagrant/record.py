"""Puts what a run saw into docs/verification.md: `python3 vagrant/record.py 'make vm-test' < lines`.

The rule: only the block under that heading changes; the date is today's, the lines are the run's own.
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "verification.md"


def recorded(page: str, heading: str, lines: str, date: str) -> str:
    """The page with this run under its heading. Raises ValueError where it has none."""
    pattern = rf"(^## `{re.escape(heading)}`\n.*?^```text\n).*?(^```$)"
    made, count = re.subn(
        pattern, lambda found: f"{found[1]}{date}\n{lines.rstrip()}\n{found[2]}", page, flags=re.DOTALL | re.MULTILINE
    )
    if count != 1:
        raise ValueError(f"{PAGE}: no block under {heading!r}")
    return made


if __name__ == "__main__":
    today = datetime.now(UTC).date().isoformat()
    PAGE.write_text(recorded(PAGE.read_text(), sys.argv[1], sys.stdin.read(), today))
