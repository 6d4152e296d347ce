"""Many datagrams with one system call: recvmmsg(2), which Python's socket module does not have.

The rule: what was received is in `buffers` until the next call.
"""

from __future__ import annotations

import ctypes
import errno
import os

MSG_DONTWAIT = 0x40


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vectors_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _MultiMessage(ctypes.Structure):
    _fields_ = (("head", _Message), ("length", ctypes.c_uint))


_LENGTH_AT = _MultiMessage.length.offset


class ReceiveMany:
    """A set of buffers for one socket."""

    def __init__(self, fd: int, count: int, size: int) -> None:
        """count buffers of size bytes each; a longer datagram is cut."""
        self._fd, self._count = fd, count
        self._memory = (ctypes.c_char * (count * size))()
        whole = memoryview(self._memory).cast("B")
        self.buffers = [whole[i * size : (i + 1) * size] for i in range(count)]
        start = ctypes.addressof(self._memory)
        self._vectors = (_IoVec * count)(*(_IoVec(start + i * size, size) for i in range(count)))
        self._messages = (_MultiMessage * count)()
        for i in range(count):
            self._messages[i].head.vectors = ctypes.addressof(self._vectors) + i * ctypes.sizeof(_IoVec)
            self._messages[i].head.vectors_length = 1
        self._lengths = memoryview(self._messages).cast("B").cast("I")
        self._step = ctypes.sizeof(_MultiMessage) // 4
        self._call = ctypes.CDLL(None, use_errno=True).recvmmsg

    def receive(self) -> list[int]:
        """The lengths of the datagrams that were waiting, in the order of the buffers; empty where none was.

        Raises OSError.
        """
        count = self._call(self._fd, self._messages, self._count, MSG_DONTWAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            if number in (errno.EAGAIN, errno.EINTR):
                return []
            raise OSError(number, os.strerror(number))
        at = _LENGTH_AT // 4
        return self._lengths[at : at + count * self._step : self._step].tolist()
