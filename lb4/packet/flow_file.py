"""The flow file: all live flows of a worker in memory that outlives it, so that its successor goes on with them.

The rule: a flow is written when it opens, its state when it moves, and wiped when it ends, each by one small write to
a shared mapping; so the file is whole whenever the process dies, also by SIGKILL.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from lb4.packet.flow_table import LiveFlow
from lb4.packet.parse import TCP, UDP
from lb4.packet.tcp_state import State

MAGIC = b"lbctl flows 1\0\0\0"
_RECORD = Struct("!BBBB36s36s")
_FREE, _VERSION_OF = 0, {12: 4, 36: 6}
_KEY_SIZE = {4: 12, 6: 36}


class Record(NamedTuple):
    """A flow of a process that is gone: the keys as the client sends and as the backend gets it."""

    slot: int
    protocol: int
    state: State
    asked: bytes
    given: bytes


class FlowFile:
    """A file of so many records, open for one process."""

    def __init__(self, directory: int, name: str, size: int) -> None:
        """directory: an open directory's descriptor. size: the most flows. Raises OSError where it cannot be made."""
        length = len(MAGIC) + size * _RECORD.size
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            if os.pread(handle, len(MAGIC), 0) != MAGIC:
                os.ftruncate(handle, 0)
            os.ftruncate(handle, max(length, os.fstat(handle).st_size))
            self._map = mmap.mmap(handle, 0)
        finally:
            os.close(handle)
        self._map[: len(MAGIC)] = MAGIC
        slots = (len(self._map) - len(MAGIC)) // _RECORD.size
        self._free = [slot for slot in range(slots - 1, -1, -1) if self._map[_at(slot)] == _FREE]
        self._taken = sorted(set(range(slots)) - set(self._free))

    def records(self) -> Iterator[Record]:
        """The flows that were live when the last process died."""
        for slot in self._taken:
            version, protocol, state, _, asked, given = _RECORD.unpack_from(self._map, _at(slot))
            size = _KEY_SIZE.get(version, 0)
            if size and protocol in (TCP, UDP) and state <= max(State):
                yield Record(slot, protocol, State(state), asked[:size], given[:size])

    def keep(self, record: Record, flow: LiveFlow) -> None:
        """The flow goes on in the place of its record."""
        flow.slot = record.slot

    def forget(self, record: Record) -> None:
        """Nobody goes on with this one."""
        self._wipe(record.slot)

    def opened(self, flow: LiveFlow) -> None:
        """Writes a new flow; without a free slot it will not outlive the process."""
        if not self._free:
            return
        flow.slot = self._free.pop()
        version = _VERSION_OF[len(flow.out.key)]
        _RECORD.pack_into(self._map, _at(flow.slot), version, flow.protocol, flow.state, 0, flow.out.key, flow.out.new)

    def moved(self, flow: LiveFlow) -> None:
        """Writes a flow's new state."""
        if flow.slot >= 0:
            self._map[_at(flow.slot) + 2] = flow.state

    def ended(self, flow: LiveFlow) -> None:
        """Wipes a flow."""
        if flow.slot >= 0:
            self._wipe(flow.slot)
            flow.slot = -1

    def _wipe(self, slot: int) -> None:
        self._map[_at(slot)] = _FREE
        self._free.append(slot)

    def close(self) -> None:
        """Leaves the file as it is for the next process."""
        self._map.close()


def _at(slot: int) -> int:
    return len(MAGIC) + slot * _RECORD.size
