"""What the supervisor knows at run time, in the form the operations ask for it.

The rule: operations run in a thread of their own; what they read here is a whole value put here by the event loop, and
what they need from workers is asked through the loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import TimeoutError as FutureTimeout

from cli.config.model import Configuration
from cli.operations.context import Activity
from cli.operations.error import OperationError
from cli.run.fleet import Fleet, Prepared
from cli.run.sockets import BindError
from lb4.address import AddressError, Endpoint, IPAddress, parse_endpoint
from lb4.compile.filters import Assistance
from lb4.compile.marks import QUEUE_BASE
from lb4.flow import Flow
from lb4.kernel.interface import Kernel
from lb4.model import Health, Mode, Protocol
from lb4.packet.host import HostUnfit, make_fit, queue_drops
from lb4.packet.queue_choice import chosen
from lb4.packet.rules import Lingering, PacketQueues
from lb7.files import FileError

ANSWER_TIMEOUT = 2.0
"""Seconds that workers have for telling their statistics."""

Statistics = list[Mapping[str, object]]


class LiveRuntime:
    """Implements cli.operations.context.Runtime."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, fleet: Fleet, ask: Callable[[], Awaitable[Statistics]], kernel: Kernel
    ) -> None:
        """ask: has every worker tell its statistics, within the event loop. kernel: asked for its features, once."""
        self._loop = loop
        self._kernel = kernel
        self._features: frozenset[str] | None = None
        self._fleet = fleet
        self._ask = ask
        self.prepared: Prepared | None = None
        self.published: Mapping[tuple[str, Endpoint], Health] = {}
        self.recovering: Mapping[tuple[str, Endpoint], int] = {}
        self.applied: Configuration | None = None
        self.learned: Mapping[str, tuple[IPAddress, ...]] = {}
        self.lingering: tuple[Lingering, ...] = ()

    def prepare(self, configuration: Configuration) -> None:
        """Opens the sockets of a configuration that is about to be applied. Raises OperationError."""
        if self.prepared is not None:
            self.prepared.discard()
            self.prepared = None
        try:
            if configuration.of_mode(Mode.PACKET):
                make_fit(chosen(os.environ).copy_limit)
            self.prepared = self._fleet.prepare(configuration)
        except (BindError, FileError, HostUnfit) as error:
            raise OperationError(str(error)) from None

    def assistance(self) -> Assistance | None:
        """The queue of the worker that picks for first packets."""
        return Assistance(QUEUE_BASE, QUEUE_BASE, self._by_xtables())

    def queues(self) -> PacketQueues | None:
        """The queues of the packet workers."""
        return PacketQueues(self._fleet.packet_size, self._by_xtables(), lingering=self.lingering)

    def _by_xtables(self) -> bool:
        if self._features is None:
            self._features = self._kernel.features()
        return "queue" not in self._features

    def publish(self, known: Mapping[tuple[str, Endpoint], Health], steps: Mapping[tuple[str, Endpoint], int]) -> None:
        """This is what the checks found, and how far recovering backends have come, from now on."""
        self.published, self.recovering = known, steps

    def configuration(self) -> Configuration | None:
        """What was applied last."""
        return self.applied

    def steps(self) -> Mapping[tuple[str, Endpoint], int]:
        """How far recovering backends have come."""
        return self.recovering

    def health(self) -> Mapping[tuple[str, Endpoint], Health]:
        """What is published of the checks' findings."""
        return self.published

    def learn(self, name: str, addresses: tuple[IPAddress, ...]) -> None:
        """These are the addresses of a DNS name, from now on."""
        self.learned = {**self.learned, name: addresses}

    def addresses(self) -> Mapping[str, tuple[IPAddress, ...]]:
        """What is known of the DNS names of backends."""
        return self.learned

    def activity(self) -> Mapping[tuple[str, Endpoint], Activity]:
        """What workers counted, summed over them."""
        sums: dict[tuple[str, Endpoint], Activity] = {}
        for row in self._rows("backends"):
            key, more = _activity(row)
            have = sums.get(key, Activity())
            sums[key] = Activity(
                have.active + more.active,
                have.total + more.total,
                have.packets + more.packets,
                have.bytes + more.bytes,
            )
        return sums

    def flows(self) -> tuple[tuple[str, str, Flow], ...]:
        """The flows that workers hold."""
        return tuple(_flow(row) for row in self._rows("flows"))

    def refused(self) -> Mapping[str, Mapping[str, int]]:
        """By listener, by reason, what workers did not let in: packets, connections, exchanges."""
        sums: dict[str, dict[str, int]] = {}
        asked = self.statistics()
        packets = (each.get("packet") for each in asked)
        for part in (*asked, *(each for each in packets if isinstance(each, dict))):
            refused = part.get("refused")
            for listener, reasons in refused.items() if isinstance(refused, dict) else ():
                of_listener = sums.setdefault(str(listener), {})
                for reason, packets in reasons.items() if isinstance(reasons, dict) else ():
                    of_listener[str(reason)] = of_listener.get(str(reason), 0) + int(packets)
        return sums

    def packet_queues(self) -> tuple[Mapping[str, int], ...]:
        """One row for each packet worker. Workers have no right to read what their queues dropped."""
        rows = [{key: value for key, value in part.items() if isinstance(value, int)} for part in self._packet_parts()]
        drops = queue_drops(row.get("queue", 0) for row in rows)
        for row in rows:
            row["waiting"], row["dropped"] = drops.get(row.get("queue", 0), (0, 0))
        return tuple(rows)

    def parts(self, name: str) -> list[object]:
        """Of every worker that has it, one part of its statistics."""
        return [statistics[name] for statistics in self.statistics() if name in statistics]

    def _packet_parts(self) -> list[Mapping[str, object]]:
        parts = [statistics.get("packet") for statistics in self.statistics()]
        return [part for part in parts if isinstance(part, dict)]

    def _rows(self, name: str) -> list[Mapping[str, object]]:
        """One list of all workers' statistics; a worker's word that has not the form is left out."""
        rows: list[Mapping[str, object]] = []
        for statistics in self.statistics():
            listed = statistics.get(name)
            rows += [row for row in listed if _is_row(row)] if isinstance(listed, list) else []
        return rows

    def statistics(self) -> Statistics:
        """The workers' documents; not to be called in the event loop."""
        answer = asyncio.run_coroutine_threadsafe(_awaited(self._ask), self._loop)
        try:
            return answer.result(ANSWER_TIMEOUT)
        except FutureTimeout:
            answer.cancel()
            return []


async def _awaited(ask: Callable[[], Awaitable[Statistics]]) -> Statistics:
    return await ask()


def _is_row(row: object) -> bool:
    if not isinstance(row, dict):
        return False
    try:
        _flow(row) if "client" in row else _activity(row)
    except (KeyError, ValueError, TypeError, AddressError):
        return False
    return True


def _activity(row: Mapping[str, object]) -> tuple[tuple[str, Endpoint], Activity]:
    """Of a worker's row {service, backend, active, total, packets, bytes}."""
    key = str(row["service"]), parse_endpoint(str(row["backend"]))
    active, total, packets, amount = (int(str(row[name])) for name in ("active", "total", "packets", "bytes"))
    return key, Activity(active, total, packets, amount)


def _flow(row: Mapping[str, object]) -> tuple[str, str, Flow]:
    """Of a worker's row: the keys of `lbctl --json flows`."""
    client, target, source, backend = (parse_endpoint(str(row[n])) for n in ("client", "target", "source", "backend"))
    flow = Flow(
        Protocol(str(row["protocol"])),
        client,
        target,
        source,
        backend,
        state=str(row["state"]),
        packets=_pair(row["packets"]),
        bytes=_pair(row["bytes"]),
    )
    return str(row["listener"]), str(row["service"]), flow


def _pair(value: object) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("no pair of numbers")
    return int(value[0]), int(value[1])
