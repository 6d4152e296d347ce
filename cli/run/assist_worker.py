"""The worker for first packets: it picks backends where the kernel cannot, and follows conntrack's events.

The rule: it keeps no right but CAP_NET_ADMIN. While it is dead or away the kernel picks by itself.
"""

from __future__ import annotations

import socket
import sys

import uvloop

from cli.run.log import to_standard_error
from cli.run.queue_worker import QueueWorker, warn
from lb4.packet.assist_service import AssistService
from lb4.packet.part import AssistPart
from lb4.worker.channel import WorkerEnd
from lb4.worker.privileges import CAP_NET_ADMIN, drop

TICK = 0.25


def main() -> None:
    """`python -m cli.run.assist_worker FD USER INDEX`: FD is the channel."""
    to_standard_error()
    channel = WorkerEnd(socket.socket(fileno=int(sys.argv[1])))
    drop(sys.argv[2], keep=(CAP_NET_ADMIN,))
    uvloop.run(QueueWorker(channel, AssistPart, lambda part: AssistService(part, warn), TICK).run())


if __name__ == "__main__":
    main()
