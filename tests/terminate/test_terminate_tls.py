"""Mode `terminate` with TLS at either side, over real sockets."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from cli.run.terminate_worker import renew, to_backends
from lb4.address import Endpoint
from lb4.model import Backend, BackendTls, Listener, Mode, Protocol, Service
from lb4.terminate.model import TerminateListener, TerminatePart
from lb4.terminate.terminator import Terminator
from lb7.files import BackendTlsFiles, TlsFiles
from lb7.model import Certificate, Tls
from lb7.tls.contexts import ServerContext
from tests.certificate import authority, issued
from tests.terminate.test_terminate import LOOPBACK, Bind, bound

CA = authority()
A, B = (issued(CA, name, f"{name}.test") for name in ("a", "b"))
FILES = {"ca": CA.cert, "a": A.cert, "a.key": A.key, "b": B.cert, "b.key": B.key}
SERVED = Tls((Certificate("a", "a.key"),))


def server_context() -> ssl.SSLContext:
    return ServerContext(SERVED, FILES).current


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("client_side", [True, False])
@pytest.mark.parametrize(("expected", "answered"), [("a.test", True), ("other.test", False), (None, True)])
async def test_tls_ends_at_the_balancer_and_begins_again(
    client_side: bool, expected: str | None, answered: bool
) -> None:
    """expected: the name that the backend must bear; None: the backend speaks in the clear."""
    to_backend = None if expected is None else BackendTls(ca="ca", server_name=expected)
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=None if expected is None else server_context())
    backend = Backend(Endpoint(LOOPBACK, server.sockets[0].getsockname()[1]))
    sock = bound()
    bind = Bind(LOOPBACK, sock.getsockname()[1], sock.getsockname()[1])
    listener = TerminateListener(Listener("l", (bind,), Protocol.TCP, Mode.TERMINATE, "s"), terminates_tls=client_side)
    part = TerminatePart(
        (listener,),
        {"s": Service("s", (backend,), tls=to_backend)},
        {"l": TlsFiles(SERVED, FILES)} if client_side else {},
        {} if to_backend is None else {"s": BackendTlsFiles(to_backend, FILES)},
    )
    contexts: dict[str, ServerContext] = {}
    renew(contexts, part)
    terminator = Terminator(asyncio.get_running_loop())
    await terminator.configure(part, contexts, to_backends(part))
    await terminator.adopt("l", bind, sock)
    client = ssl.create_default_context(cadata=CA.cert.decode()) if client_side else None
    name = "a.test" if client_side else None
    reader, writer = await asyncio.open_connection("127.0.0.1", bind.first, ssl=client, server_hostname=name)
    writer.write(b"hello\n")
    try:
        got = await reader.readline()
    except ConnectionError:
        got = b""
    writer.close()
    await terminator.drain(0)
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0)
    assert got == (b"hello\n" if answered else b"")


def test_renewed_certificates_keep_the_context_that_servers_hold() -> None:
    contexts: dict[str, ServerContext] = {}
    renew(contexts, TerminatePart((), {}, {"l": TlsFiles(SERVED, FILES)}))
    held = contexts["l"]
    before = held.current
    renew(contexts, TerminatePart((), {}, {"l": TlsFiles(Tls((Certificate("b", "b.key"),)), FILES)}))
    assert contexts["l"] is held
    assert held.current is not before
    renew(contexts, TerminatePart((), {}))
    assert contexts == {}
