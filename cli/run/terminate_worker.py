"""The terminate worker: one process that holds terminated connections.

The rule: it gave up root's rights before the first byte from outside, all but CAP_NET_ADMIN where a listener is
transparent; when the supervisor is gone it drains and ends.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys

import uvloop

from lb4.ledger import Shared, shared_with
from lb4.model import Backend, BackendTls, Service
from lb4.terminate.door import Secure
from lb4.terminate.model import TerminatePart
from lb4.terminate.terminator import Terminator
from lb4.worker.channel import WorkerEnd
from lb4.worker.privileges import drop
from lb4.worker.socket_worker import serve
from lb7.files import BackendTlsFiles, FileError, TlsFiles
from lb7.tls.contexts import ServerContext, backend_context, backend_server_name


async def run(channel: WorkerEnd, shared: Shared) -> None:
    """Until the supervisor says Drain, or is gone."""
    terminator = Terminator(asyncio.get_running_loop(), shared)
    contexts: dict[str, ServerContext] = {}

    async def configure(part: TerminatePart) -> str:
        try:
            renew(contexts, part)
            secure = to_backends(part)
        except FileError as error:
            return str(error)
        await terminator.configure(part, contexts, secure)
        return ""

    sweeping = asyncio.create_task(terminator.sweep())
    await serve(channel, terminator, configure)
    sweeping.cancel()


def renew(contexts: dict[str, ServerContext], part: TerminatePart) -> None:
    """The TLS of the listeners that end it: renewed in place, since open sockets keep theirs. Raises FileError."""
    for name, found in part.tls.items():
        assert isinstance(found, TlsFiles)
        if name in contexts:
            contexts[name].renew(found.tls, found.files)
        else:
            contexts[name] = ServerContext(found.tls, found.files)
    for name in contexts.keys() - part.tls.keys():
        del contexts[name]


def to_backends(part: TerminatePart) -> Secure:
    """The TLS that backends are spoken to by. Raises FileError."""
    made: dict[str, tuple[BackendTls, ssl.SSLContext]] = {}
    for name, found in part.backend_tls.items():
        assert isinstance(found, BackendTlsFiles)
        made[name] = found.tls, backend_context(found.tls, found.files, alpn=())

    def secure(service: Service, backend: Backend) -> tuple[ssl.SSLContext, str] | None:
        tls, context = made.get(service.name, (None, None))
        return None if tls is None or context is None else (context, backend_server_name(tls, backend))

    return secure


def main() -> None:
    """`python -m cli.run.terminate_worker FD USER INDEX COUNTS WORKERS RIGHTS`: FD is the channel.

    COUNTS is the memory in which so many WORKERS count together. RIGHTS are the capabilities it keeps, by number.
    """
    channel = WorkerEnd(socket.socket(fileno=int(sys.argv[1])))
    shared = shared_with(int(sys.argv[3]), sys.argv[4:])
    drop(sys.argv[2], keep=tuple(map(int, filter(None, sys.argv[6].split(",")))))
    uvloop.run(run(channel, shared))


if __name__ == "__main__":
    main()
