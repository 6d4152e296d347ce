"""Modules that are imported late, imported early: once a worker has given up root, their directory may be closed to it.

The rule: where everybody may read the code, nothing is imported before its time. A checkout below a home directory
(mode 0700 in Debian) is not such a place.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType

OWN = ("lb4", "lb7")
OTHERS = {"dns": "dns", "passlib": "passlib.handlers"}
"""Packages that import parts of theirs when they are first needed, and where those are."""
SEARCHABLE = 0o001


def import_early() -> None:
    """Imports what may be needed later of the packages in use, where their directories are closed to others."""
    for name in [*OWN, *OTHERS]:
        package = sys.modules.get(name)
        if package is not None and any(closed(Path(place)) for place in package.__path__):
            for module in _modules(import_module(OTHERS.get(name, name))):
                # A part that something is missing for cannot be used later either.
                with suppress(ImportError):
                    import_module(module)


def closed(directory: Path) -> bool:
    """Whether somebody without rights of his own cannot get to what is in the directory."""
    return any(not place.stat().st_mode & SEARCHABLE for place in (directory, *directory.parents))


def _modules(package: ModuleType) -> Iterator[str]:
    found: Iterable[pkgutil.ModuleInfo] = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return (each.name for each in found)
