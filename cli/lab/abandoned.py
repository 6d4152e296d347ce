"""Labs whose process is gone: of demos that were killed.

The rule: a lab that carries its process's id in its prefix is abandoned when there is no such process.
"""

from __future__ import annotations

import re
from pathlib import Path

from cli.lab import build, namespaces, place

DEMO = "lbctl-demo-"


def remove() -> bool:
    """Takes them down; says whether there were any."""
    found = prefixes()
    for prefix in found:
        build.down(prefix)
        place.clear(prefix)
    return bool(found)


def prefixes() -> list[str]:
    """The prefixes of abandoned labs, by their namespaces' names: `lbctl-demo-PID-SCENE-`."""
    found = {match[0]: match[1] for name in namespaces.names(DEMO) if (match := re.match(rf"{DEMO}(\d+)-\w+-", name))}
    return [prefix for prefix, pid in found.items() if not Path("/proc", pid).exists()]
