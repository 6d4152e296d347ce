"""Probes: one question to one backend, over the network.

The rule: a probe says None when all is well, else in a few words what was wrong; it ends in time and never raises
for what a backend did. What follows from the answer is the business of `hysteresis`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from functools import lru_cache

from lb4.address import Endpoint, written
from lb4.model import HealthCheck

Failure = str | None
Probe = Callable[[HealthCheck, Endpoint], Awaitable[Failure]]

BODY_LIMIT = 65536
ICMP_ECHO = {"ip": (socket.IPPROTO_ICMP, 8, 0), "ip6": (socket.IPPROTO_ICMPV6, 128, 129)}
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r\n)")


async def probe(check: HealthCheck, endpoint: Endpoint) -> Failure:
    """Asks once, within `check.timeout` seconds."""
    target = Endpoint(endpoint.ip, check.port or endpoint.port)
    try:
        async with asyncio.timeout(check.timeout):
            return await PROBES[check.type](check, target)
    except TimeoutError:
        return f"no answer within {check.timeout:g}s"
    except ssl.SSLError as error:
        return f"TLS: {error.reason or error}"
    except OSError as error:
        return (error.strerror or str(error)).lower()


def _family(endpoint: Endpoint) -> socket.AddressFamily:
    return socket.AF_INET if endpoint.family == "ip" else socket.AF_INET6


async def _connected(endpoint: Endpoint, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(_family(endpoint), kind | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (str(endpoint.ip), endpoint.port))
    except BaseException:
        sock.close()
        raise
    return sock


async def _tcp(check: HealthCheck, endpoint: Endpoint) -> Failure:
    with await _connected(endpoint, socket.SOCK_STREAM) as sock:
        # A reset instead of FIN leaves no TIME_WAIT behind: thousands of probes a second hold no ports.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return None


async def _http(check: HealthCheck, endpoint: Endpoint) -> Failure:
    loop = asyncio.get_running_loop()
    with await _connected(endpoint, socket.SOCK_STREAM) as sock:
        await loop.sock_sendall(sock, _request(check, endpoint))

        async def more() -> bytes:
            return await loop.sock_recv(sock, BODY_LIMIT)

        return _judged(check, await _answer(check, more))


async def _https(check: HealthCheck, endpoint: Endpoint) -> Failure:
    name = check.host.partition(":")[0] or str(endpoint.ip)
    reader, writer = await asyncio.open_connection(
        str(endpoint.ip), endpoint.port, ssl=_tls(check.verify, check.ca), server_hostname=name
    )
    try:
        writer.write(_request(check, endpoint))
        return _judged(check, await _answer(check, lambda: reader.read(BODY_LIMIT)))
    finally:
        writer.transport.abort()


@lru_cache
def _tls(verify: bool, ca: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca or None)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _request(check: HealthCheck, endpoint: Endpoint) -> bytes:
    host = check.host or written(endpoint.ip, str(endpoint.port))
    return f"GET {check.path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: lbctl\r\nConnection: close\r\n\r\n".encode()


async def _answer(check: HealthCheck, more: Callable[[], Awaitable[bytes]]) -> bytes:
    """The head, and the body too where its text matters, bounded by BODY_LIMIT bytes."""
    answer = b""
    while len(answer) < BODY_LIMIT and not (b"\r\n\r\n" in answer and not check.body_match):
        chunk = await more()
        if not chunk:
            break
        answer += chunk
    return answer


def _judged(check: HealthCheck, answer: bytes) -> Failure:
    line = STATUS_LINE.match(answer)
    if line is None:
        return "no HTTP answer" if answer else "closed without an answer"
    status = int(line[1])
    if not any(first <= status <= last for first, last in check.statuses):
        return f"status {status}"
    if check.body_match and not re.search(check.body_match.encode(), answer.partition(b"\r\n\r\n")[2]):
        return f"the body does not match {check.body_match!r}"
    return None


async def _udp(check: HealthCheck, endpoint: Endpoint) -> Failure:
    """An answer is good (and holds `expect`); port-unreachable is bad; without an expectation silence is good."""
    loop = asyncio.get_running_loop()
    with await _connected(endpoint, socket.SOCK_DGRAM) as sock:
        await loop.sock_sendall(sock, check.payload)
        try:
            answer = await asyncio.wait_for(loop.sock_recv(sock, BODY_LIMIT), check.timeout * 0.9)
        except TimeoutError:
            return f"no answer within {check.timeout:g}s" if check.expect else None
    return None if check.expect in answer else "another answer than expected"


async def _icmp(check: HealthCheck, endpoint: Endpoint) -> Failure:
    protocol, request, reply = ICMP_ECHO[endpoint.family]
    loop = asyncio.get_running_loop()
    with socket.socket(_family(endpoint), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, protocol) as sock:
        await loop.sock_connect(sock, (str(endpoint.ip), 0))
        await loop.sock_sendall(sock, struct.pack("!BBHHH", request, 0, 0, 0, 1) + check.payload)
        answer = await loop.sock_recv(sock, BODY_LIMIT)
    return None if answer[:1] == bytes([reply]) else f"ICMP type {answer[0]}"


async def _exec(check: HealthCheck, endpoint: Endpoint) -> Failure:
    """Exit status 0 is good. The command sees LBCTL_BACKEND_ADDRESS and LBCTL_BACKEND_PORT."""
    environment = {"LBCTL_BACKEND_ADDRESS": str(endpoint.ip), "LBCTL_BACKEND_PORT": str(endpoint.port or "")}
    null = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *check.command,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
        stdin=null,
        stdout=null,
        stderr=null,
    )
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return None if code == 0 else f"{check.command[0]} exited with {code}"


PROBES: dict[str, Probe] = {"tcp": _tcp, "http": _http, "https": _https, "udp": _udp, "icmp": _icmp, "exec": _exec}
