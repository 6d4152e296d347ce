"""Whether a request may go to a next candidate.

The rule: never when a backend may have acted on it and acting twice would matter: only what was not sent, or an
idempotent request (RFC 9110 section 9.2.2) whose body is still at hand and that had no byte of a response.
"""

from __future__ import annotations

from lb7.model import Retries
from lb7.refusal import BAD_RESPONSE, CONNECT_FAILED, CONNECT_TIMEOUT, CONNECTION_LOST, FIRST_BYTE_TIMEOUT

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
CONDITIONS = {
    CONNECT_FAILED: "connect",
    CONNECT_TIMEOUT: "connect",
    CONNECTION_LOST: "reset",
    FIRST_BYTE_TIMEOUT: "timeout",
    BAD_RESPONSE: "",
}
"""What Retries.on calls each reason of a failed attempt."""
BUDGET_FLOOR = 10
"""Retries that a service has whatever its traffic, so that a quiet one can retry at all."""
BUDGET_WINDOW = 10_000
"""Requests after which old ones count half."""


def may_retry(method: bytes, retries: Retries, attempts: int, reason: str, sent: bool, replayable: bool) -> bool:
    """attempts: made so far. sent: whether a byte of the request may have reached the backend."""
    if attempts > retries.attempts or CONDITIONS.get(reason, "") not in retries.on:
        return False
    return not sent or (method in IDEMPOTENT and replayable)


def may_retry_status(method: bytes, retries: Retries, attempts: int, status: int, replayable: bool) -> bool:
    """Whether a response with this status is dropped for another try."""
    return attempts <= retries.attempts and str(status) in retries.on and method in IDEMPOTENT and replayable


class Budget:
    """Retries as a fraction of a service's recent requests."""

    __slots__ = ("requests", "retries")

    def __init__(self) -> None:
        self.requests = 0
        self.retries = 0

    def request(self) -> None:
        """A request came."""
        self.requests += 1
        if self.requests >= BUDGET_WINDOW:
            self.requests //= 2
            self.retries //= 2

    def spend(self, fraction: float) -> bool:
        """Takes one retry where the fraction allows it."""
        if self.retries >= BUDGET_FLOOR + fraction * self.requests:
            return False
        self.retries += 1
        return True
