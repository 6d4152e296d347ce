"""A worker for tests: reads its part, says ready, serves, and answers `?` with its statistics.

Arguments: kind (`packet` or `assist`), directory for flow files or `-`, worker's number, `netlink` or
`netfilterqueue`, and optionally `raise`: the hook raises for packets that hold the word RAISE.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import sys
import time

from lb4.packet.assist_service import AssistService
from lb4.packet.queue_netfilterqueue import NetfilterQueueQueue
from lb4.packet.queue_netlink import NetlinkQueue
from lb4.packet.service import PacketService

QUEUES = {"netlink": NetlinkQueue, "netfilterqueue": NetfilterQueueQueue}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def raising(service: PacketService) -> None:
    step = service.translator.step

    def raise_for_some(data: bytes, now: float) -> object:
        if b"RAISE" in data:
            raise RuntimeError("as asked")
        return step(data, now)

    service.translator.step = raise_for_some  # type: ignore[method-assign,assignment]


def main() -> None:
    kind, directory, number, queue, *more = sys.argv[1:]
    part = pickle.loads(os.read(0, int.from_bytes(os.read(0, 4), "big")))
    if kind == "packet":
        service = PacketService(part, int(number), None if directory == "-" else os.open(directory, os.O_RDONLY), say)
        if "raise" in more:
            raising(service)
        service.start(QUEUES[queue])  # type: ignore[arg-type]
    else:
        service = AssistService(part, say)  # type: ignore[assignment]
    ready = {service.fileno(): service.process}
    print("ready", flush=True)
    ticked = 0.0
    while True:
        for fd in select.select([0, *ready], [], [], 0.2)[0]:
            if fd:
                ready[fd]()
            elif os.read(0, 1):
                print(json.dumps(service.statistics()), flush=True)
            else:
                return
        if time.monotonic() > ticked + 0.2:
            ticked = time.monotonic()
            service.tick()


if __name__ == "__main__":
    main()
