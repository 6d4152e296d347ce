"""The hook for first packets at work: its queue, conntrack's events, and counts set right where events were lost.

The rule: this is the shell; it decides nothing. Without it the kernel goes on and picks by itself.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from lb4.compile.marks import QUEUE_BASE
from lb4.conntrack.table import ConntrackEvents, KernelConntrack, decoded_events
from lb4.model import Service
from lb4.packet.assist import FirstPackets
from lb4.packet.ends_filter import program
from lb4.packet.host import queue_drops
from lb4.packet.load_scheduler import load_scheduler, look_beside
from lb4.packet.part import AssistPart
from lb4.packet.picks import picks
from lb4.packet.queue_mark import MarkQueue
from lb4.packet.receive_many import ReceiveMany
from lb4.packet.throttle import Throttle
from lb4.socket_filter import attach

EVENTS_AT_ONCE = 64
EVENT_MAX = 4096
"""Bytes of an event; conntrack's messages have some three hundred."""
ROUNDS = 1000


class AssistService:
    """The worker. `fileno` and `process` are for the event loop; `tick` wants to be called a few times a second."""

    def __init__(self, part: AssistPart, log: Callable[[str], None]) -> None:
        """Takes the queue. Raises QueueError and ConntrackError."""
        look_beside(part.modules)
        complain = Throttle(log, time.monotonic)
        self._balancer = part.balancer
        self._core = FirstPackets(part.balancer, picks(random.random, load_scheduler), complain)
        self._queue = MarkQueue(QUEUE_BASE, self._core.mark, complain)
        self._events = ConntrackEvents()
        attach(self._events.fileno(), program())
        self._waiting = ReceiveMany(self._events.fileno(), EVENTS_AT_ONCE, EVENT_MAX)
        self.set_right()

    def fileno(self) -> int:
        """Readable when first packets wait."""
        return self._queue.fileno()

    def process(self) -> None:
        """Picks for what waits. Counts are brought up to date right before: nobody is woken for events alone."""
        self.hear()
        self._queue.process()

    def hear(self) -> None:
        """Takes in events that wait; where some were lost, all flows are read anew."""
        for _ in range(ROUNDS):
            try:
                lengths = self._waiting.receive()
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.set_right()
                return
            for buffer, length in zip(self._waiting.buffers, lengths, strict=False):
                for event in decoded_events(bytes(buffer[:length])):
                    if event is not None:
                        self._core.activity.heard(event)
            if len(lengths) < EVENTS_AT_ONCE:
                return

    def set_right(self) -> None:
        """Reads all flows. Raises ConntrackError."""
        self._core.activity.set_right(KernelConntrack().flows(), self._balancer)

    def reconfigure(self, part: AssistPart) -> None:
        """Goes on with another configuration. Raises ConntrackError."""
        look_beside(part.modules)
        self._balancer = part.balancer
        self._core.reconfigure(part.balancer)
        self.set_right()

    def change_services(self, services: Mapping[str, Service]) -> None:
        """Some services have new weights, health or admin states."""
        known = {name: services.get(name, service) for name, service in self._balancer.services.items()}
        self._balancer = replace(self._balancer, services=known)
        self._core.reconfigure(self._balancer)

    def tick(self) -> None:
        """Takes in events where nobody connects, and picks that came to nothing stop counting."""
        self.hear()
        self._core.activity.forget_picks(time.monotonic())

    def statistics(self) -> dict[str, object]:
        """{"backends": [], "assist": {queue, waiting, dropped, failed, flows, active: {service: {backend: flows}}}}."""
        self.hear()
        waiting, dropped = queue_drops((QUEUE_BASE,)).get(QUEUE_BASE, (0, 0))
        active = {
            name: {str(endpoint): flows for endpoint, flows in self._core.activity.active(name).items()}
            for name in self._balancer.services
        }
        health = {"queue": QUEUE_BASE, "waiting": waiting, "dropped": dropped, "failed": self._queue.failed}
        return {"backends": [], "assist": {**health, "flows": len(self._core.activity), "active": active}}

    def stop(self) -> None:
        """Lets go of the queue; the kernel picks from now on."""
        self._queue.close()
        self._events.close()
