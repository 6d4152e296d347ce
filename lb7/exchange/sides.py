"""What the connections of both sides and an exchange are to each other, whatever the version of HTTP below.

The rule: messages pass here, never bytes of a protocol; framing and fields of the hop are the connection's own matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lb7.auth.verdict import ConnectionInfo
from lb7.fields import Field
from lb7.message import ResponseHead


class Client(Protocol):
    """What a connection to a client is to its exchange, whatever the version of HTTP.

    closing: whether the connection ends with this exchange. trusted: whether the peer's word on forwarding counts;
    where it does not, forwarding has the lines for it.
    """

    info: ConnectionInfo
    closing: bool
    write_paused: bool
    trusted: bool
    forwarding: str

    def respond_interim(self, status: int, reason: bytes, lines: bytes) -> None:
        """Sends a 1xx response."""

    def respond(
        self, status: int, reason: bytes, lines: bytes, length: int, content: bytes, ended: bool,
        trailers: Sequence[Field], minor: int,
    ) -> None:  # fmt: skip
        """Sends the final response's head and the first of its body."""

    def send_body(self, content: bytes, ended: bool, trailers: Sequence[Field]) -> None:
        """Sends more of the body."""

    def switch_protocol(self, status: int, reason: bytes, lines: bytes, content: bytes) -> None:
        """Sends a 101, or the 200 of CONNECT, and becomes a tunnel."""

    def finished(self) -> None:
        """The exchange is over, its response sent."""

    def cut_off(self) -> None:
        """The exchange is over, its response is not whole."""

    def takes(self) -> bool:
        """Whether it took bytes of a response since this was last asked."""
        ...

    def pause_reading(self) -> None:
        """Holds the request's body back."""

    def resume_reading(self) -> None:
        """Lets it come again."""


class Asker(Protocol):
    """What an exchange is to a backend connection."""

    def interim(self, head: ResponseHead) -> None:
        """A 1xx response other than 101."""

    def response(self, head: ResponseHead, length: int, content: bytes, ended: bool, trailers: Sequence[Field]) -> None:
        """The final response's head, the length of its body, and what came with it."""

    def response_body(self, content: bytes, ended: bool, trailers: Sequence[Field]) -> None:
        """More of its body."""

    def backend_lost(self, reason: str, detail: str, answered: bool) -> None:
        """The connection ended before the response did; answered: after the first byte of one."""

    def pause_request(self) -> None:
        """The backend takes no more just now."""

    def resume_request(self) -> None:
        """The backend takes more again."""
