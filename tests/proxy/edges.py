"""What the tests of unusual peers share."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

from tests.proxy.test_tls import BACKEND
from tests.proxy.world import LOCALHOST, Server, Talk, World

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
HOLD = GET.replace(b"/ ", b"/hold ")
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
PUT = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
MIB = 1 << 20
RESET = b"\x01\0\0\0\0\0\0\0"


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def errors_of_the_loop() -> list[dict[str, object]]:
    errors: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    return errors


async def secure_backend(world: World, script, tmp_path: Path) -> Server:  # type: ignore[no-untyped-def]
    (tmp_path / "backend.pem").write_bytes(BACKEND.cert + BACKEND.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "backend.pem")
    server = await Server(script).start(context)
    world.servers.append(server)
    return server


def small_reader(world: World) -> socket.socket:
    """A client that takes little and reads only when told."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((LOCALHOST, world.port))
    return sock


async def stall(talk: Talk) -> None:
    await talk.head()
    await talk.rest()
