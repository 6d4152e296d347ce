"""The log of the long-running side: one line an event on standard error, key=value after the words.

The rule: under journald a line starts with its priority (sd-daemon(3)), elsewhere with the time.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

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
