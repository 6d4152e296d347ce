"""A filter in the kernel for the packets trace wants: classic BPF over addresses.

The rule: it may let too much through, never too little; what a packet is, is decided by Python alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from lb4.address import IPAddress
from lb4.socket_filter import ALL, JUMP_EQUAL, LD_BYTE, LD_WORD, RETURN, RSHIFT, Instruction, packed

ADDRESSES_MAX = 60
"""A jump reaches 255 instructions on."""

SOURCE4, DESTINATION4, SOURCE6, DESTINATION6 = 12, 16, 8, 24


def program(addresses: Iterable[IPAddress]) -> bytes | None:
    """Passes packets from or to one of the addresses (of IPv6 their last four bytes decide), None for too many.

    For packets without link header (SOCK_DGRAM).
    """
    every = sorted(set(addresses), key=lambda ip: (ip.version, int(ip)))
    four = [int(ip) for ip in every if ip.version == 4]
    six = [int(ip) & ALL for ip in every if ip.version == 6]
    if not every or len(every) > ADDRESSES_MAX or any(ip.is_unspecified for ip in every):
        return None
    second = _compared(SOURCE6 + 12, six) + _compared(DESTINATION6 + 12, six)
    first = _compared(SOURCE4, four) + _compared(DESTINATION4, four)
    code = [
        (LD_BYTE, 0, 0, 0),
        (RSHIFT, 0, 0, 4),
        (JUMP_EQUAL, 0, len(first) + 2, 4),
        *_ended(first),
        *_ended(second),
    ]
    return packed(code)


Code = list[Instruction]


def _compared(offset: int, words: list[int]) -> Code:
    """Jumps past its block's end where the word is one of these; the distance is put in by `_ended`."""
    return [(LD_WORD, 0, 0, offset), *((JUMP_EQUAL, 1, 0, word) for word in words)]


def _ended(block: Code) -> Code:
    """The block with its jumps to the return that passes, which comes after the one that does not."""
    size = len(block)
    jumps = [(code, size - at if code == JUMP_EQUAL else 0, 0, word) for at, (code, _, _, word) in enumerate(block)]
    return [*jumps, (RETURN, 0, 0, 0), (RETURN, 0, 0, ALL)]
