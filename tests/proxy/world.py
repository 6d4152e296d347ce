"""A proxy with real sockets on loopback: clients that speak bytes, and backends that say what a test tells them to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from lb4.address import Bind, Endpoint, parse_ip
from lb4.model import Backend, Listener, Mode, Service
from lb7.model import (
    AccessLog,
    Forward,
    HttpBalancer,
    HttpLimits,
    HttpListener,
    HttpService,
    Match,
    Retries,
    Route,
    Timeouts,
    WeightedService,
)
from lb7.part import HttpPart
from lb7.proxy import Proxy

LOCALHOST = "127.0.0.1"
PATIENCE = 10.0
ADDED = re.compile(
    rb"(?i)^(x-request-id|traceparent|x-forwarded-for|x-forwarded-proto|x-forwarded-host|via): .*\r\n", re.M
)
Script = Callable[["Talk"], Awaitable[None]]


class Talk:
    """One connection, as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(end)

    async def head(self) -> bytes:
        return await self.until(b"\r\n\r\n")

    async def exactly(self, count: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(count)

    async def rest(self) -> bytes:
        """All until the end; a reset is an end too."""
        data = b""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                while more := await self.reader.read(65536):
                    data += more
        return data

    async def response(self) -> bytes:
        """One response with Content-Length or in chunks."""
        head = await self.head()
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if length is not None:
            return head + await self.exactly(int(length[1]))
        if re.search(rb"(?i)\r\ntransfer-encoding: chunked", head):
            return head + await self.chunks()
        return head

    async def chunks(self) -> bytes:
        body = b""
        while True:
            line = await self.until(b"\r\n")
            body += line
            if line == b"0\r\n":
                while (line := await self.until(b"\r\n")) != b"\r\n":
                    body += line
                return body + line
            body += await self.exactly(int(line, 16) + 2)

    def reset(self) -> None:
        """Ends it by a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


class Server:
    """A backend that runs a script on each connection and keeps count of them."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.talks: list[Talk] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, context: ssl.SSLContext | None = None) -> Server:
        self._server = await asyncio.start_server(self._serve, LOCALHOST, 0, ssl=context)
        self.endpoint = Endpoint(parse_ip(LOCALHOST), self._server.sockets[0].getsockname()[1])
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        talk = Talk(reader, writer)
        self.talks.append(talk)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.script(talk)
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        for talk in self.talks:
            talk.writer.transport.abort()


def answering(*responses: bytes, heads: list[bytes] | None = None) -> Script:
    """Reads heads (and bodies of a Content-Length) and gives these responses in turn, then over and over the last."""

    async def script(talk: Talk) -> None:
        number = 0
        while True:
            head = await talk.head()
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            body = await talk.exactly(int(length[1])) if length else b""
            if re.search(rb"(?i)\r\ntransfer-encoding: chunked", head):
                body = await talk.chunks()
            if heads is not None:
                heads.append(head + body)
            await talk.send(responses[min(number, len(responses) - 1)])
            number += 1

    return script


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def named(name: str) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name.encode())


class World:
    """A proxy under test and what surrounds it."""

    def __init__(self, log: str) -> None:
        self.log = log
        self.proxy = Proxy(asyncio.get_running_loop())
        self.servers: list[Server] = []
        self.clients: list[Talk] = []
        self.port = 0

    async def backend(self, script: Script | bytes = OK) -> Server:
        server = await Server(answering(script) if isinstance(script, bytes) else script).start()
        self.servers.append(server)
        return server

    async def serve(self, *servers: Server, send_buffer: int = 0, **changes: object) -> None:
        """One listener whose only route goes to these backends; changes: see `part`.

        send_buffer: bytes that the kernel takes for a client, where it is not to decide itself.
        """
        part = self.part(servers, **changes)
        await self.proxy.configure(part)
        if not self.port:
            sock = socket.create_server((LOCALHOST, 0))
            self.port = sock.getsockname()[1]
            if send_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
            await self.proxy.adopt("web", Bind(parse_ip(LOCALHOST), self.port, self.port), sock)

    def part(
        self,
        servers: Sequence[Server] = (),
        *,
        timeouts: Timeouts | None = None,
        retries: Retries | None = None,
        limits: HttpLimits | None = None,
        routes: Sequence[Route] | None = None,
        service: dict[str, object] | None = None,
        http_service: dict[str, object] | None = None,
        route: dict[str, object] | None = None,
        files: dict[str, bytes] | None = None,
        **listener: object,
    ) -> HttpPart:
        backends = tuple(Backend(server.endpoint) for server in servers)
        chosen = Service("ping", **{"backends": backends, **(service or {})})  # type: ignore[arg-type]
        only = Route(
            "all",
            1,
            Match(path_prefix="/"),
            Forward((WeightedService("ping"),)),
            timeouts=timeouts or Timeouts(),
            retries=retries or Retries(),
            **(route or {}),  # type: ignore[arg-type]
        )
        layer4 = listener.pop("listener", None) or Listener("web", (), mode=Mode.HTTP)
        web = HttpListener(
            layer4,  # type: ignore[arg-type]
            tuple(routes) if routes is not None else (only,),
            limits=limits or HttpLimits(),
            access_log=AccessLog(self.log),
            **listener,  # type: ignore[arg-type]
        )
        http = HttpService(chosen, **(http_service or {}))  # type: ignore[arg-type]
        return HttpPart(HttpBalancer({"web": web}, {"ping": http}), files or {})

    async def client(self, data: bytes = b"") -> Talk:
        talk = Talk(*await asyncio.open_connection(LOCALHOST, self.port, limit=1 << 20))
        self.clients.append(talk)
        if data:
            await talk.send(data)
        return talk

    async def ask(self, request: bytes) -> bytes:
        """One request on a connection of its own, one response."""
        talk = await self.client(request)
        answer = await talk.response()
        talk.close()
        return answer

    async def whole(self, data: bytes) -> bytes:
        """What a client hears until the proxy closes."""
        return await (await self.client(data)).rest()

    def logged(self) -> list[dict[str, object]]:
        for log in self.proxy._planner.logs.values():
            log.flush()
        return [json.loads(line) for line in Path(self.log).read_text().splitlines()]

    async def last_logged(self) -> dict[str, object]:
        """The last line of the access log, once there is one."""
        async with asyncio.timeout(PATIENCE):
            while not (lines := self.logged()):
                await asyncio.sleep(0.01)
        return lines[-1]

    async def close(self) -> None:
        for talk in self.clients:
            talk.writer.transport.abort()
        for server in self.servers:
            await server.close()
        await self.proxy.drain(0)


def without_added(head: bytes) -> bytes:
    """A request without the fields that every forwarded one gets."""
    return ADDED.sub(b"", head)


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1]) if response.startswith(b"HTTP/1.1 ") else 0


def body_of(response: bytes) -> bytes:
    return response.partition(b"\r\n\r\n")[2]


async def eventually(condition: Callable[[], bool]) -> None:
    """Until the condition holds; it fails when it never does."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)
