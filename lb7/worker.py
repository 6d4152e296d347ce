"""One HTTP worker: `python -m lb7.worker FD USER INDEX [COUNTS WORKERS]`.

FD is its end of the supervisor's channel, INDEX its number, COUNTS the memory in which so many WORKERS count together.

The rule: it gave up root's rights before the first byte from outside; when the supervisor is gone it drains and ends.
Its part of a Configure is an HttpPart.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from importlib import import_module

import uvloop

from lb4.ledger import Shared, shared_with
from lb4.worker.channel import WorkerEnd
from lb4.worker.privileges import drop
from lb4.worker.socket_worker import serve
from lb7.access_log import LogError
from lb7.files import FileError
from lb7.part import HttpPart
from lb7.proxy import Proxy

LATE = (
    "encodings.idna",
    "lb7.auth.basic",
    "lb7.auth.forward",
    "lb7.auth.jwt_auth",
    "lb7.auth.jwt_keys",
    "lb7.auth.key_set",
    "lb7.auth.mtls",
)
"""Modules that are imported where they are needed first: a worker without rights may not be able to read them then."""


async def run(channel: WorkerEnd, shared: Shared) -> None:
    """Until the supervisor says Drain, or is gone."""
    proxy = Proxy(asyncio.get_running_loop(), shared)

    async def configure(part: HttpPart) -> str:
        try:
            await proxy.configure(part)
        except (FileError, LogError, ValueError) as error:
            return str(error)
        gc.collect()
        gc.freeze()
        return ""

    await serve(channel, proxy, configure)


def main() -> None:
    """See the module."""
    channel = WorkerEnd(socket.socket(fileno=int(sys.argv[1])))
    for module in LATE:
        import_module(module)
    drop(sys.argv[2])
    uvloop.run(run(channel, shared_with(int(sys.argv[3]), sys.argv[4:])))


if __name__ == "__main__":
    main()
