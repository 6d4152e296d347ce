"""TCP as a balancer in the middle sees it: states, what moves them, and how long each may be silent.

The rule: a state moves by the flags of one segment and who sent it; what is not in the table leaves it as it is.
"""

from __future__ import annotations

from enum import IntEnum

from lb4.packet.parse import ACK, FIN, RST, SYN


class State(IntEnum):
    """A flow's state; TCP's in conntrack's words, FIN_WAIT where the client closed first, CLOSE_WAIT the backend."""

    UDP_NEW = 0
    UDP_REPLIED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    ESTABLISHED = 4
    FIN_WAIT = 5
    CLOSE_WAIT = 6
    LAST_ACK = 7
    TIME_WAIT = 8
    CLOSE = 9

    @property
    def word(self) -> str:
        """As `flows` shows it: empty for UDP."""
        return "" if self <= State.UDP_REPLIED else self.name


TIMEOUTS: dict[State, float] = {
    State.UDP_NEW: 30.0,
    State.UDP_REPLIED: 120.0,
    State.SYN_SENT: 30.0,
    State.SYN_RECV: 30.0,
    State.ESTABLISHED: 7440.0,
    State.FIN_WAIT: 240.0,
    State.CLOSE_WAIT: 240.0,
    State.LAST_ACK: 30.0,
    State.TIME_WAIT: 30.0,
    State.CLOSE: 10.0,
}
"""Seconds of silence after which a flow is forgotten. 7440 and 240: RFC 5382 requirement 5; UDP: RFC 4787 REQ-5."""

OVER = frozenset({State.TIME_WAIT, State.CLOSE})
"""The connection has ended; only late segments may follow. A SYN starts another."""

_CLIENT, _BACKEND = False, True
_MOVES: dict[tuple[State, bool, int], State] = {
    (State.SYN_SENT, _BACKEND, SYN | ACK): State.SYN_RECV,
    (State.SYN_RECV, _CLIENT, ACK): State.ESTABLISHED,
    (State.SYN_RECV, _CLIENT, FIN): State.FIN_WAIT,
    (State.SYN_RECV, _BACKEND, FIN): State.CLOSE_WAIT,
    (State.ESTABLISHED, _CLIENT, FIN): State.FIN_WAIT,
    (State.ESTABLISHED, _BACKEND, FIN): State.CLOSE_WAIT,
    (State.FIN_WAIT, _BACKEND, FIN): State.LAST_ACK,
    (State.CLOSE_WAIT, _CLIENT, FIN): State.LAST_ACK,
    (State.LAST_ACK, _CLIENT, ACK): State.TIME_WAIT,
    (State.LAST_ACK, _BACKEND, ACK): State.TIME_WAIT,
}


def moved(state: State, from_backend: bool, flags: int) -> State:
    """The state after a segment with these flags (RFC 9293 section 3.3.2, from the middle)."""
    if flags & RST:
        return State.CLOSE
    event = FIN if flags & FIN else flags & (SYN | ACK)
    return _MOVES.get((state, from_backend, event), state)


def opens(flags: int) -> bool:
    """Whether the segment is a client's first: SYN and none of ACK, FIN and RST."""
    return flags & (SYN | ACK | FIN | RST) == SYN
