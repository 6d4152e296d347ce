"""Classic BPF programs on sockets: what a process does not want to hear, the kernel keeps to itself.

The rule: a program is made of instructions as linux/filter.h has them; attaching it is all that touches a socket.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterable
from struct import Struct

# linux/filter.h, linux/bpf_common.h
LD_WORD, LD_HALF, LD_BYTE, AND, RSHIFT, JUMP_EQUAL, JUMP_GREATER_OR_EQUAL, RETURN = (
    0x20, 0x28, 0x30, 0x54, 0x74, 0x15, 0x35, 0x06,
)  # fmt: skip
ALL = 0xFFFFFFFF
SO_ATTACH_FILTER = 26
_INSTRUCTION = Struct("=HBBI")
_PROGRAM = Struct("=H6xQ")

Instruction = tuple[int, int, int, int]
"""Code, how many instructions to pass over where a jump's comparison holds, how many where not, and the operand."""


def packed(code: Iterable[Instruction]) -> bytes:
    """The program's bytes."""
    return b"".join(_INSTRUCTION.pack(*each) for each in code)


def attach(fd: int, code: bytes) -> None:
    """Has the kernel ask the program about every message for this socket. Raises OSError for a program it refuses."""
    memory = ctypes.create_string_buffer(code)
    described = _PROGRAM.pack(len(code) // _INSTRUCTION.size, ctypes.addressof(memory))
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
