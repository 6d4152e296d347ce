"""One worker of packet mode at work: the translator, its queue and its flow file, in an event loop of somebody's.

The rule: this is the shell: it reads the clock, the queue and the host, and decides nothing about packets.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from lb4.ledger import ALONE, Shared
from lb4.model import Service
from lb4.packet.flow_file import FlowFile
from lb4.packet.flow_table import LiveFlow
from lb4.packet.host import allow_own_sources, check_mtus, mtus, queue_drops, routes_of
from lb4.packet.keys import destination_of, source_of
from lb4.packet.load_scheduler import load_scheduler, look_beside
from lb4.packet.packet_queue import Complain, Handler, PacketQueue
from lb4.packet.parse import TCP
from lb4.packet.part import PacketPart
from lb4.packet.picks import picks
from lb4.packet.queue_netlink import NetlinkQueue
from lb4.packet.setup import Setup
from lb4.packet.throttle import Throttle
from lb4.packet.translate import Translator

MakeQueue = Callable[[int, Handler, Complain], PacketQueue]


class PacketService:
    """A worker. `fileno` and `process` are for the event loop; `tick` wants to be called about once a second."""

    def __init__(
        self, part: PacketPart, worker: int, directory: int | None, log: Complain, shared: Shared = ALONE
    ) -> None:
        """directory: a descriptor of where flow files are kept, or None. log: told what a person should know.

        shared: what all workers have together.
        """
        self._worker, self._log = worker, log
        self._complain: Complain = Throttle(log, time.monotonic)
        self._seed = secrets.randbits(64)
        look_beside(part.modules)
        self.setup = self._setup(part)
        chosen = picks(random.random, load_scheduler, shared.turns)
        self.translator = Translator(self.setup, chosen, self._complain, shared.affinities, shared.ledgers)
        self.resumed = 0
        self._directory = directory
        self._file: FlowFile | None = None
        self._queue: PacketQueue | None = None

    def start(self, make_queue: MakeQueue = NetlinkQueue) -> None:
        """Takes the queue, then the flows of who had it before; packets wait meanwhile.

        Raises HostUnfit, QueueError where somebody else has the queue, and OSError where flows cannot be kept.
        """
        if allow_own_sources():
            self._log("mode packet: set net.ipv4.conf.all.accept_local=1, without which rewritten packets are dropped")
        queue = make_queue(self.setup.queue, self.translator.step, self._complain)
        try:
            check_mtus(queue.copy_limit, mtus())
            if self._directory is not None:
                self._resume(FlowFile(self._directory, f"packet-{self._worker}.flows", self.setup.flows_max))
        except BaseException:
            queue.close()
            raise
        self._queue = queue

    def reconfigure(self, part: PacketPart) -> int:
        """Goes on with another configuration; how many flows ended with their listener or backend."""
        look_beside(part.modules)
        self.setup = self._setup(part)
        return self.translator.reconfigure(self.setup)

    def change_services(self, services: Mapping[str, Service]) -> None:
        """Some services have new weights, health or admin states."""
        balancer = self.setup.balancer
        known = {name: services.get(name, service) for name, service in balancer.services.items()}
        balancer = replace(balancer, services=known)
        self.setup = replace(self.setup, balancer=balancer, routes=routes_of(balancer))
        self.translator.reconfigure(self.setup)

    def fileno(self) -> int:
        """Readable when packets wait."""
        assert self._queue is not None
        return self._queue.fileno()

    def process(self) -> None:
        """Gives verdicts on packets that wait."""
        assert self._queue is not None
        self._queue.process()

    def tick(self) -> None:
        """Forgets flows whose time has come."""
        self.translator.table.expire(time.monotonic())

    def stop(self) -> None:
        """Lets go of the queue and leaves the flows to the next worker."""
        if self._queue is not None:
            self._queue.close()
        if self._file is not None:
            self._file.close()

    def statistics(self) -> dict[str, object]:
        """What `status` and `flows` want to know, as JSON has it.

        {"backends": [{service, backend, active, total, packets, bytes}], "flows": [as `lbctl --json flows`],
        "packet": {queue, waiting, dropped, failed, cut, resumed, flows, refused: {listener: {reason: packets}}}}.
        """
        translator = self.translator
        counts = translator.totals.with_live(translator.table)
        backends = [
            {"listener": owner.listener, "service": owner.service, "backend": str(owner.backend), "active": c.active,
             "total": c.total, "packets": c.packets, "bytes": c.bytes}
            for owner, c in counts.items()
        ]  # fmt: skip
        return {"backends": backends, "flows": [flow_row(f) for f in translator.table], "packet": self._health()}

    def _health(self) -> dict[str, object]:
        queue, number = self._queue, self.setup.queue
        waiting, dropped = queue_drops((number,)).get(number, (0, 0))
        refused: dict[str, dict[str, int]] = {}
        for (listener, why), packets in self.translator.refused.items():
            refused.setdefault(listener, {})[why.value] = packets
        return {
            "queue": number,
            "waiting": waiting,
            "dropped": dropped,
            "failed": queue.failed if queue is not None else 0,
            "cut": queue.cut if queue is not None else 0,
            "resumed": self.resumed,
            "flows": len(self.translator.table),
            "refused": refused,
        }

    def _setup(self, part: PacketPart) -> Setup:
        routes = routes_of(part.balancer)
        return Setup(part.balancer, routes, self._worker, part.workers, part.ports, part.flows_max, self._seed)

    def _resume(self, file: FlowFile) -> None:
        """Takes over the flows of the process before us, and writes ours into the file from now on."""
        translator, now, lost = self.translator, time.monotonic(), 0
        self._file = file
        for record in file.records():
            flow = translator.adopt(record.protocol, (record.asked, record.given), record.state, now)
            if flow is None:
                file.forget(record)
                lost += 1
            else:
                file.keep(record, flow)
                self.resumed += 1
        translator.opened, translator.moved, translator.ended = file.opened, file.moved, file.ended
        if self.resumed or lost:
            self._log(f"mode packet: worker {self._worker} goes on with {self.resumed} flows, {lost} had no place left")


def flow_row(flow: LiveFlow) -> dict[str, object]:
    """A flow as `lbctl --json flows` prints it."""
    asked, given = flow.out.key, flow.out.new
    return {
        "listener": flow.listener,
        "service": flow.service,
        "protocol": "tcp" if flow.protocol == TCP else "udp",
        "client": str(source_of(asked)),
        "target": str(destination_of(asked)),
        "source": str(source_of(given)),
        "backend": str(destination_of(given)),
        "state": flow.state.word,
        "packets": [flow.out.packets, flow.back.packets],
        "bytes": [flow.out.bytes, flow.back.bytes],
    }
