"""The health worker: probes every checked backend in its rhythm and reports what changed.

The rule: it runs without root's rights (it reads bytes from outside) and says only what hysteresis let through.
Its part of a Configure is a tuple of Targets.
"""

from __future__ import annotations

import asyncio
import random
import socket
import sys

import uvloop

from lb4.health.hysteresis import Observed, observe
from lb4.health.probe import probe
from lb4.health.target import Target
from lb4.worker.channel import WorkerEnd
from lb4.worker.messages import Configure, Drain
from lb4.worker.privileges import CAP_NET_RAW, drop

FIRST_SPREAD = 0.2
"""Seconds over which first probes are spread, so that a thousand do not start at once."""


class HealthWorker:
    """Keeps one task per target; what was observed of a target lives on as long as it is watched unchanged."""

    def __init__(self, channel: WorkerEnd) -> None:
        """Reports over the channel."""
        self._channel = channel
        self._watches: dict[Target, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until the supervisor says Drain, or is gone. A defect in a watch ends the worker, which is then replaced."""
        async with asyncio.TaskGroup() as group:
            async for message, _ in self._channel.messages():
                if isinstance(message, Drain):
                    break
                if isinstance(message, Configure) and isinstance(message.part, tuple):
                    self._watch(message.part, group)
                    await self._channel.report({"ready": True})
            self._watch((), group)

    def _watch(self, targets: tuple[Target, ...], group: asyncio.TaskGroup) -> None:
        wanted = set(targets)
        for target in self._watches.keys() - wanted:
            self._watches.pop(target).cancel()
        for target in wanted - self._watches.keys():
            self._watches[target] = group.create_task(self._probe_on(target))

    async def _probe_on(self, target: Target) -> None:
        check, observed = target.check, Observed()
        await asyncio.sleep(random.uniform(0, min(FIRST_SPREAD, check.every)))
        while True:
            failure = await probe(check, target.endpoint, target.source)
            before, observed = observed, observe(observed, failure is None, check)
            if before.health is not observed.health:
                change = [target.service, str(target.endpoint), observed.health.value, failure or "answers"]
                await self._channel.report({"health": [change]})
            await asyncio.sleep(check.every * (1 + random.uniform(-check.jitter, check.jitter)))


def main() -> None:
    """`python -m cli.run.health_worker FD USER`: FD is the channel."""
    channel = WorkerEnd(socket.socket(fileno=int(sys.argv[1])))
    drop(sys.argv[2], keep=(CAP_NET_RAW,))
    uvloop.run(HealthWorker(channel).run())


if __name__ == "__main__":
    main()
