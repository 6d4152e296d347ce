"""The packet worker: one process with one packet queue; every packet of mode `packet` passes through such a one.

The rule: it keeps no right but CAP_NET_ADMIN, which the queue takes, and gives that up with everything else when the
supervisor is gone. Its flows are left in a file for the worker that comes after it.
"""

from __future__ import annotations

import os
import pwd
import socket
import sys

import uvloop

from cli.operations.context import run_directory
from cli.run.log import to_standard_error
from cli.run.queue_worker import QueueWorker, warn
from lb4.ledger import Shared, shared_with
from lb4.packet.part import PacketPart
from lb4.packet.queue_choice import chosen
from lb4.packet.service import PacketService
from lb4.worker.channel import WorkerEnd
from lb4.worker.privileges import CAP_NET_ADMIN, drop

TICK = 0.5


def started(part: PacketPart, index: int, directory: int, shared: Shared) -> PacketService:
    """The service with its queue. Raises HostUnfit, QueueError and OSError."""
    service = PacketService(part, index, directory, warn, shared)
    service.start(chosen(os.environ))
    return service


def own_directory(user: str) -> int:
    """Where flow files are kept, made and opened while root may go everywhere, for the user who will write them."""
    directory = run_directory(os.environ) / "packet"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        for path in (directory, *directory.iterdir()):
            os.chown(path, entry.pw_uid, entry.pw_gid)
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def main() -> None:
    """`python -m cli.run.packet_worker FD USER INDEX COUNTS WORKERS`: FD is the channel, COUNTS what WORKERS share."""
    to_standard_error()
    channel, user, index = WorkerEnd(socket.socket(fileno=int(sys.argv[1]))), sys.argv[2], int(sys.argv[3])
    directory, shared = own_directory(user), shared_with(index, sys.argv[4:])
    drop(user, keep=(CAP_NET_ADMIN,))
    uvloop.run(QueueWorker(channel, PacketPart, lambda part: started(part, index, directory, shared), TICK).run())


if __name__ == "__main__":
    main()
