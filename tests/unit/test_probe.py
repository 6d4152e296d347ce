"""Probes against real servers on the loopback: good ones, and those that hang, flood, lie, or are not there."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from lb4.address import Endpoint
from lb4.health.probe import checksum, probe
from lb4.model import HealthCheck
from tests.certificate import authority, issued

LOCAL = ip_address("127.0.0.1")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[Endpoint]:
    tasks: set[asyncio.Task[None]] = set()

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(handled, str(LOCAL), 0, ssl=context)
    try:
        yield Endpoint(LOCAL, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def saying(answer: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return handler


async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def flooding(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def flooding_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: y\r\n")
        await asyncio.sleep(0.01)


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


HTTP = [
    (saying(OK), {}, None),
    (saying(b"HTTP/1.1 503 No\r\n\r\n"), {}, "status 503"),
    (saying(b"HTTP/1.1 204 Fine\r\n\r\n"), {"statuses": ((200, 200), (204, 204))}, None),
    (saying(b"HTTP/1.1 301 There\r\n\r\n"), {"statuses": ((200, 299),)}, "status 301"),
    (saying(OK), {"body_match": "hel+o"}, None),
    (saying(OK), {"body_match": "good(bye)?"}, "the body does not match 'good(bye)?'"),
    (saying(b"SSH-2.0-OpenSSH\r\n"), {}, "no HTTP answer"),
    (saying(b"HTTP/1.1 999999 Lie\r\n\r\n"), {}, "no HTTP answer"),
    (saying(b"HTTP/2 200\r\n\r\n"), {}, "no HTTP answer"),
    (closing, {}, "closed without an answer"),
    (hanging, {"timeout": 0.2}, "no answer within 0.2s"),
    (flooding, {}, "no HTTP answer"),
    (flooding_slowly, {"timeout": 0.2}, "no answer within 0.2s"),
]


@pytest.mark.parametrize(("handler", "more", "failure"), HTTP)
async def test_http(handler: Handler, more: dict[str, Any], failure: str | None) -> None:
    async with serving(handler) as endpoint:
        assert await probe(HealthCheck("http", **more), endpoint) == failure


async def test_what_http_asks_for() -> None:
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        await writer.drain()

    async with serving(handler) as endpoint:
        await probe(HealthCheck("http", path="/healthz"), endpoint)
        await probe(HealthCheck("http", host="shop.example"), endpoint)
        await probe(HealthCheck("http", port=endpoint.port), Endpoint(LOCAL))
    assert heads[0].startswith(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % (endpoint.port or 0))
    assert b"Host: shop.example\r\n" in heads[1]
    assert len(heads) == 3


def context_of(directory: Path, *names: str) -> ssl.SSLContext:
    signer = authority()
    signed = issued(signer, "server", *names)
    (directory / "ca.pem").write_bytes(signer.cert)
    (directory / "server.pem").write_bytes(signed.cert + signed.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    return context


async def test_https(tmp_path: Path) -> None:
    ca = str(tmp_path / "ca.pem")
    async with serving(saying(OK), context_of(tmp_path, "127.0.0.1", "shop.example")) as endpoint:
        assert await probe(HealthCheck("https", verify=False, body_match="hello"), endpoint) is None
        assert await probe(HealthCheck("https", ca=ca), endpoint) is None
        assert await probe(HealthCheck("https", ca=ca, host="shop.example"), endpoint) is None
        assert "CERTIFICATE_VERIFY_FAILED" in str(await probe(HealthCheck("https"), endpoint))
        assert "CERTIFICATE_VERIFY_FAILED" in str(await probe(HealthCheck("https", ca=ca, host="x.example"), endpoint))
    async with serving(saying(OK)) as endpoint:
        assert str(await probe(HealthCheck("https", verify=False, timeout=0.5), endpoint))


async def test_tcp() -> None:
    async with serving(hanging) as endpoint:
        assert await probe(HealthCheck("tcp"), endpoint) is None
    assert await probe(HealthCheck("tcp"), endpoint) == "connection refused"
    assert await probe(HealthCheck("http"), endpoint) == "connection refused"


async def test_the_source() -> None:
    seen: list[str] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        await hanging(reader, writer)

    async with serving(handler) as endpoint:
        assert await probe(HealthCheck("tcp"), endpoint, ip_address("127.0.0.9")) is None
        # An address that no interface has is left to the kernel's translation.
        assert await probe(HealthCheck("tcp"), endpoint, ip_address("192.0.2.77")) is None
        await asyncio.sleep(0.05)
    assert seen == ["127.0.0.9", "127.0.0.1"]


@pytest.mark.parametrize(
    ("answer", "more", "failure"),
    [
        (b"pong!", {}, None),
        (b"pong!", {"expect": b"pong"}, None),
        (b"a pong", {"expect": b"pong"}, "another answer than expected"),
        (None, {"expect": b"pong", "timeout": 0.2}, "no answer within 0.2s"),
        (None, {"timeout": 0.2}, None),
        ("closed", {}, "connection refused"),
    ],
)
async def test_udp(answer: bytes | str | None, more: dict[str, Any], failure: str | None) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((str(LOCAL), 0))
        endpoint = Endpoint(LOCAL, sock.getsockname()[1])

        def answered() -> None:
            data, client = sock.recvfrom(100)
            assert data == b"ping"
            if isinstance(answer, bytes):
                sock.sendto(answer, client)

        if answer == "closed":
            sock.close()
        else:
            asyncio.get_running_loop().add_reader(sock, answered)
        assert await probe(HealthCheck("udp", payload=b"ping", **more), endpoint) == failure
        if answer != "closed":
            asyncio.get_running_loop().remove_reader(sock)


@pytest.mark.root
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_icmp(address: str) -> None:
    assert await probe(HealthCheck("icmp", payload=b"abc"), Endpoint(ip_address(address))) is None


def test_checksum() -> None:
    # RFC 1071, section 3.
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == bytes.fromhex("220d")


@pytest.mark.parametrize(
    ("command", "failure"),
    [
        (("true",), None),
        (("sh", "-c", "exit 3"), "sh exited with 3"),
        (("sh", "-c", '[ "$LBCTL_ADDRESS:$LBCTL_PORT" = 127.0.0.1:80 ]'), None),
        (("/nowhere/program",), "no such file or directory"),
        (("sh", "-c", "sleep 60 & wait"), "no answer within 0.3s"),
        (("sh", "-c", "exec yes"), "no answer within 0.3s"),
    ],
)
async def test_exec(command: tuple[str, ...], failure: str | None) -> None:
    assert await probe(HealthCheck("exec", command=command, timeout=0.3), Endpoint(LOCAL, 80)) == failure
