"""The log of the long-running side: one line an event on standard error, key=value after the words.

The rule: under journald a line starts with its priority (sd-daemon(3)), elsewhere with the time. What is
`remembered` goes into the log of events as well (cli/events.py).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from cli import events

PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class LineFormatter(logging.Formatter):
    """Words, then the record's `fields` as key=value, quoted where they hold spaces."""

    def __init__(self, journald: bool) -> None:
        """journald: a priority in place of the time."""
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S")
        self._journald = journald

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        fields: Mapping[str, object] = getattr(record, "fields", {})
        words = [record.getMessage(), *(f"{key}={_quoted(value)}" for key, value in fields.items())]
        line = " ".join(words).replace("\n", "\\n")
        if record.exc_info:
            line += " " + repr(record.exc_info[1])
        if self._journald:
            return f"<{PRIORITY.get(record.levelno, 6)}>{line}"
        return f"{self.formatTime(record, self.datefmt)} {record.levelname.lower()} {line}"


def _quoted(value: object) -> str:
    text = str(value)
    return f'"{text}"' if " " in text or not text else text


class EventHandler(logging.Handler):
    """Puts what is to be remembered into the log of events."""

    def __init__(self, directory: Path) -> None:
        """directory: the state directory."""
        super().__init__()
        self._directory = directory

    def emit(self, record: logging.LogRecord) -> None:
        """Adds the record where it has the name of an event."""
        name = getattr(record, "remembered", "")
        if name:
            fields: Mapping[str, object] = getattr(record, "fields", {})
            events.append(self._directory, record.created, name, **fields)


def to_events(directory: Path) -> None:
    """Has this process's remembered events kept in the state directory."""
    logging.getLogger("lbctl").addHandler(EventHandler(directory))


def to_standard_error(level: int = logging.INFO) -> None:
    """Sets the logger `lbctl` up for this process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("JOURNAL_STREAM" in os.environ))
    logger = logging.getLogger("lbctl")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


def event(level: int, words: str, **fields: object) -> None:
    """Logs one event."""
    logging.getLogger("lbctl").log(level, words, extra={"fields": fields})


def remembered(level: int, name: str, words: str, **fields: object) -> None:
    """Logs one event that `lbctl events` shows, as an event of that name. The fields are what JSON can write."""
    logging.getLogger("lbctl").log(level, words, extra={"fields": fields, "remembered": name})
