"""TLS towards backends: what cannot be half-closed, what is gone early, names that are none."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import struct

import pytest

from cli.run.terminate_worker import to_backends
from lb4.address import Bind, Endpoint
from lb4.model import Backend, BackendTls, Listener, Mode, Protocol, Service
from lb4.terminate.model import TerminateListener, TerminatePart
from lb7.files import BackendTlsFiles
from tests.terminate.test_terminate import LOOPBACK, bound, echo
from tests.terminate.test_terminate_tls import FILES, server_context

RST = struct.pack("ii", 1, 0)


async def connected_by_tls(terminator, server, name):
    """A client of a listener whose backend is this server, asked for by a name."""
    backend = Backend(Endpoint(LOOPBACK, server.sockets[0].getsockname()[1]))
    tls = BackendTls(ca="ca", server_name=name)
    sock = bound()
    bind = Bind(LOOPBACK, sock.getsockname()[1], sock.getsockname()[1])
    listener = TerminateListener(Listener("l", (bind,), Protocol.TCP, Mode.TERMINATE, "s"))
    part = TerminatePart((listener,), {"s": Service("s", (backend,), tls=tls)}, {}, {"s": BackendTlsFiles(tls, FILES)})
    await terminator.configure(part, {}, to_backends(part))
    await terminator.adopt("l", bind, sock)
    return await asyncio.open_connection("127.0.0.1", bind.first)


async def test_sweep_survives(terminator, servers):
    """A backend by TLS has ended, its client takes nothing: the sweep must end it, and go on."""

    async def flood(reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.read(1)
            writer.write(b"x" * 200_000)
            await writer.drain()
            writer.close()

    server = await asyncio.start_server(flood, "127.0.0.1", 0, ssl=server_context())
    backend = Backend(Endpoint(LOOPBACK, server.sockets[0].getsockname()[1]))
    tls = BackendTls(ca="ca", server_name="a.test")
    sock = bound()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    bind = Bind(LOOPBACK, sock.getsockname()[1], sock.getsockname()[1])
    listener = TerminateListener(Listener("l", (bind,), Protocol.TCP, Mode.TERMINATE, "s"), idle_timeout=0.3)
    part = TerminatePart((listener,), {"s": Service("s", (backend,), tls=tls)}, {}, {"s": BackendTlsFiles(tls, FILES)})
    await terminator.configure(part, {}, to_backends(part))
    await terminator.adopt("l", bind, sock)
    sweeping = asyncio.create_task(terminator.sweep())
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", bind.first))
    client.setblocking(False)
    client.send(b"?")
    await asyncio.sleep(2.6)
    done = sweeping.done() and sweeping.exception()
    client.close()
    server.close()
    assert not done, done


@pytest.mark.parametrize("late", [0.0, 0.2])
async def test_half_close_to_a_tls_backend(terminator, late, servers):
    """A client that ends its side after the request gets its answer, whenever the end comes."""
    said = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))

    async def answer(reader, writer):
        line = await reader.readline()
        await asyncio.sleep(0.5)
        writer.write(line)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_context())
    reader, writer = await connected_by_tls(terminator, server, "a.test")
    writer.write(b"hello\n")
    await asyncio.sleep(late)
    writer.write_eof()
    try:
        got = await asyncio.wait_for(reader.read(), 3)
    except OSError as error:
        got = error
    await asyncio.sleep(0.1)
    gc.collect()
    writer.close()
    server.close()
    assert got == b"hello\n"
    assert not said


async def test_a_defect_while_connecting_resets_the_client(terminator):
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context())
    reader, writer = await connected_by_tls(terminator, server, "a..test")
    writer.write(b"hello\n")
    try:
        got = await asyncio.wait_for(reader.read(), 2)
    except (OSError, TimeoutError) as error:
        got = error
    writer.close()
    server.close()
    assert isinstance(got, ConnectionError), repr(got)
