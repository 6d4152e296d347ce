"""A flow as the kernel tracks it: its four addresses, state and counts.

The rule: `client` to `target` is what the client sends, `source` to `backend` what the backend gets.
"""

from __future__ import annotations

from dataclasses import dataclass

from lb4.address import Endpoint
from lb4.model import Protocol


@dataclass(frozen=True, slots=True)
class Flow:
    """One tracked connection or UDP exchange.

    state: TCP's in conntrack's words (`SYN_SENT`, `ESTABLISHED`, `TIME_WAIT`, …), empty for UDP. packets and bytes:
    from client and from backend. timeout: seconds until conntrack forgets it. id: conntrack's own, to end just it.
    """

    protocol: Protocol
    client: Endpoint
    target: Endpoint
    source: Endpoint
    backend: Endpoint
    state: str = ""
    packets: tuple[int, int] = (0, 0)
    bytes: tuple[int, int] = (0, 0)
    timeout: int = 0
    id: int = 0
    mark: int = 0
