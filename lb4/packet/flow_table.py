"""The flow table: which translation a packet belongs to, how far the flow is, and when it is forgotten.

The rule: a live flow owns two keys, one a direction, and one source port; all three come and go together.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from typing import NamedTuple

from lb4.address import Endpoint
from lb4.packet.keys import turned
from lb4.packet.parse import TCP, UDP
from lb4.packet.rewrite import Translation
from lb4.packet.tcp_state import OVER, TIMEOUTS, State, moved

FLOWS_MAX = 65536

Ended = Callable[["LiveFlow"], None]
Counted = Callable[["LiveFlow", int], None]


class Owner(NamedTuple):
    """Whose flow it is: the listener and the service by name, and the backend that was picked."""

    listener: str
    service: str
    backend: Endpoint


class Direction(Translation):
    """One direction of a flow: its translation and what went through it."""

    __slots__ = ("bytes", "flow", "from_backend", "packets")

    def __init__(self, flow: LiveFlow, key: bytes, new: bytes, from_backend: bool) -> None:
        super().__init__(key, new)
        self.flow = flow
        self.from_backend = from_backend
        self.packets = 0
        self.bytes = 0


class LiveFlow:
    """A flow from client to backend. `seen` is the time of its last packet, in the seconds of the caller's clock."""

    __slots__ = ("back", "backend", "listener", "number", "out", "protocol", "seen", "service", "slot", "state")

    def __init__(self, number: int, protocol: int, keys: tuple[bytes, bytes], owner: Owner, now: float) -> None:
        """keys: as the client sends and as the backend gets it."""
        asked, given = keys
        self.number = number
        self.protocol = protocol
        self.listener, self.service, self.backend = owner
        self.state = State.SYN_SENT if protocol == TCP else State.UDP_NEW
        self.seen = now
        self.slot = -1
        self.out = Direction(self, asked, given, from_backend=False)
        self.back = Direction(self, turned(given), turned(asked), from_backend=True)

    @property
    def deadline(self) -> float:
        """When it is forgotten unless a packet comes."""
        return self.seen + TIMEOUTS[self.state]

    @property
    def active(self) -> bool:
        """Whether the connection is still going on."""
        return self.state not in OVER


class FlowTable:
    """All live flows of one worker."""

    def __init__(self, limit: int = FLOWS_MAX, ended: Ended | None = None, counted: Counted | None = None) -> None:
        """limit: the most flows at a time. ended: told of each flow that left the table.

        counted: told of each connection that is one more (1) or one less (-1) of those that are going on.
        """
        self.limit = limit
        self.directions: dict[int, dict[bytes, Direction]] = {TCP: {}, UDP: {}}
        self.active: dict[Endpoint, int] = {}
        self._flows: dict[int, LiveFlow] = {}
        self._numbers = count(1)
        self._deadlines: list[tuple[float, int]] = []
        self._ended = ended
        self._counted = counted

    def __len__(self) -> int:
        return len(self._flows)

    def __iter__(self) -> Iterator[LiveFlow]:
        return iter(list(self._flows.values()))

    @property
    def full(self) -> bool:
        """Whether no flow more may be opened."""
        return len(self._flows) >= self.limit

    def open(self, protocol: int, keys: tuple[bytes, bytes], owner: Owner, now: float) -> LiveFlow:
        """A new flow; the caller has seen to it that neither key is taken and the table is not full."""
        flow = LiveFlow(next(self._numbers), protocol, keys, owner, now)
        directions = self.directions[protocol]
        directions[flow.out.key] = flow.out
        directions[flow.back.key] = flow.back
        self._flows[flow.number] = flow
        self._count(flow, 1)
        heapq.heappush(self._deadlines, (flow.deadline, flow.number))
        return flow

    def track(self, direction: Direction, flags: int, now: float) -> State:
        """Moves a TCP flow's state by a segment's flags; the new state."""
        flow = direction.flow
        state = moved(flow.state, direction.from_backend, flags)
        if state is not flow.state:
            self.set_state(flow, state)
            heapq.heappush(self._deadlines, (now + TIMEOUTS[state], flow.number))
        return state

    def set_state(self, flow: LiveFlow, state: State) -> None:
        """Changes the state and with it whether the flow counts as active."""
        change = (state not in OVER) - flow.active
        flow.state = state
        if change:
            self._count(flow, change)

    def end(self, flow: LiveFlow) -> None:
        """Forgets a flow: its keys and whatever `ended` gives back are free again."""
        if self._flows.pop(flow.number, None) is None:
            return
        directions = self.directions[flow.protocol]
        del directions[flow.out.key], directions[flow.back.key]
        if flow.active:
            self._count(flow, -1)
        if self._ended is not None:
            self._ended(flow)

    def _count(self, flow: LiveFlow, change: int) -> None:
        active = self.active.get(flow.backend, 0) + change
        if active:
            self.active[flow.backend] = active
        else:
            self.active.pop(flow.backend, None)
        if self._counted is not None:
            self._counted(flow, change)

    def expire(self, now: float, at_most: int = 1000) -> int:
        """Ends flows whose time has come, at most so many; how many it ended."""
        ended = 0
        while self._deadlines and self._deadlines[0][0] <= now and ended < at_most:
            _, number = heapq.heappop(self._deadlines)
            flow = self._flows.get(number)
            if flow is None:
                continue
            if flow.deadline > now:
                heapq.heappush(self._deadlines, (flow.deadline, number))
                continue
            self.end(flow)
            ended += 1
        return ended
