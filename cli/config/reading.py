"""The text of a configuration file, from a path or from standard input.

The rule: whatever is at the path ends in a text of at most FILE_MAX bytes or in a ConfigError; every command says the
same of the same file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

from cli.config.errors import ConfigError, Problem

FILE_MAX = 64 * 1024 * 1024
STANDARD_INPUT = "-"


def given_text(name: str) -> str:
    """The text of what a command was given: a file's path, or `-` for standard input. Raises ConfigError."""
    if name == STANDARD_INPUT and sys.stdin is not None:
        return _decoded(_content(sys.stdin.buffer, name), name)
    return read_text(name)


def read_text(path: str | Path) -> str:
    """The text of a file. Raises ConfigError."""
    origin = str(path)
    try:
        with Path(path).open("rb") as file:
            content = _content(file, origin)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(origin, [Problem((), f"cannot be read: {reason}")]) from None
    return _decoded(content, origin)


def _content(file: BinaryIO, origin: str) -> bytes:
    content = file.read(FILE_MAX + 1)
    if len(content) > FILE_MAX:
        raise ConfigError(origin, [Problem((), f"larger than {FILE_MAX // 2**20} MiB")])
    return content


def _decoded(content: bytes, origin: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(origin, [Problem((), "the file is not UTF-8 text", line)]) from None
