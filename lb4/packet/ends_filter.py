"""Of conntrack's events only those that begin or end a flow: the steps of TCP in between are kept from us.

The rule: where an event is not laid out as usual it passes; too much is heard rather than too little.
"""

from __future__ import annotations

import sys

from lb4.conntrack.message import (
    ATTRIBUTE,
    BODY,
    CT_NEW,
    CTA_PROTOINFO,
    HEADER,
    NESTED,
    SUBSYSTEM,
    TCP_STATES,
    TUPLE4,
    TUPLE6,
)
from lb4.socket_filter import ALL, JUMP_EQUAL, JUMP_GREATER_OR_EQUAL, LD_BYTE, LD_HALF, RETURN, Instruction, packed

AF_INET, AF_INET6 = 2, 10
BETWEEN_TUPLES_AND_STATE = 24
"""CTA_ID, CTA_STATUS and CTA_TIMEOUT, eight bytes each (ctnetlink_conntrack_event)."""
FIRST, LAST = TCP_STATES.index("SYN_RECV"), TCP_STATES.index("LAST_ACK")


def program() -> bytes:
    """For a socket of conntrack's event groups."""
    four, six = _steps(TUPLE4.size), _steps(TUPLE6.size)
    return packed(
        [
            (LD_HALF, 0, 0, 4),
            (JUMP_EQUAL, 1, 0, _as_read(SUBSYSTEM | CT_NEW)),
            (RETURN, 0, 0, ALL),
            (LD_BYTE, 0, 0, HEADER.size),
            (JUMP_EQUAL, 0, len(four), AF_INET),
            *four,
            (JUMP_EQUAL, 0, len(six), AF_INET6),
            *six,
            (RETURN, 0, 0, ALL),
        ]
    )


def _steps(tuple_size: int) -> list[Instruction]:
    """Keeps an event back whose TCP state is one of the steps between a flow's beginning and its end."""
    protocol = BODY + 2 * tuple_size + BETWEEN_TUPLES_AND_STATE
    state = protocol + 3 * ATTRIBUTE.size
    return [
        (LD_HALF, 0, 0, protocol + 2),
        (JUMP_EQUAL, 0, 4, _as_read(NESTED | CTA_PROTOINFO)),
        (LD_BYTE, 0, 0, state),
        (JUMP_GREATER_OR_EQUAL, 0, 2, FIRST),
        (JUMP_GREATER_OR_EQUAL, 1, 0, LAST + 1),
        (RETURN, 0, 0, 0),
        (RETURN, 0, 0, ALL),
    ]


def _as_read(word: int) -> int:
    """A word in host order as BPF reads it from a message, in network order."""
    return int.from_bytes(word.to_bytes(2, sys.byteorder), "big")
