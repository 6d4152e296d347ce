"""Passive ejection: a backend whose requests fail one after the other gets none for a while.

The rule: at most a fraction of a service is ejected at once, so that failures everywhere leave the service as it was
instead of leaving nobody. Time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass

from lb7.model import Ejection

FAILURE_STATUS = 500
"""Answers from here on count as failures (RFC 9110 section 15.6)."""


@dataclass(slots=True)
class Record:
    """What is known of one backend: failures in a row, and until when it is ejected (0: it is not)."""

    failures: int = 0
    until: float = 0.0
    times: int = 0

    def ejected(self, now: float) -> bool:
        """Whether it gets no request now."""
        return now < self.until


def observe_failure(record: Record, rule: Ejection, now: float, others: list[Record]) -> bool:
    """Counts a failure; whether the backend is ejected by it. others: the records of all the service's backends."""
    record.failures += 1
    if record.failures < rule.failures or record.ejected(now):
        return False
    ejected = sum(other.ejected(now) for other in others)
    if ejected + 1 > rule.max_fraction * len(others):
        return False
    record.failures = 0
    record.times += 1
    record.until = now + rule.duration
    return True
