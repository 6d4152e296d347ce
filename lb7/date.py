"""The time of day as answers of our own say it.

The rule: whoever makes an answer itself dates it (RFC 9110 section 6.6.1); what backends say of the time is theirs.
"""

from __future__ import annotations

import time
from email.utils import formatdate


class DateLine:
    """The Date of answers of our own (RFC 9110 section 6.6.1), formatted once a second."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def __call__(self) -> bytes:
        """The whole line."""
        now = int(time.time())
        if self._second != now:
            self._second = now
            self._line = b"Date: %b\r\n" % formatdate(now, usegmt=True).encode()
        return self._line


date_line = DateLine()
