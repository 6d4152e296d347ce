"""The configuration file: YAML text to a validated schema to the frozen model of lb4 and lb7.

The rule: who is outside asks for `load` or `load_file`, catches ConfigError, and gets a Configuration.
"""

from cli.config.errors import ConfigError
from cli.config.loader import load, load_file
from cli.config.model import Configuration

__all__ = ["ConfigError", "Configuration", "load", "load_file"]
