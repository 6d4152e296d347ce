"""The configuration file: YAML text to a validated schema to the frozen model of lb4 and lb7.

The rule: who is outside asks for `load` or `load_file`, catches ConfigError, and gets a Configuration. They are
imported when they are asked for: pydantic would take half of the start of commands that read no file.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.config.errors import ConfigError
    from cli.config.loader import load, load_file
    from cli.config.model import Configuration

__all__ = ["ConfigError", "Configuration", "load", "load_file"]

_MODULES = {"ConfigError": "errors", "Configuration": "model", "load": "loader", "load_file": "loader"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
