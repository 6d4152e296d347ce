"""Probes: one question to one backend, over the network.

The rule: a probe says None when all is well, else in a few words what was wrong; it ends in time and never raises
for what a backend did. What follows from the answer is the business of `hysteresis`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import re
import signal
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from functools import lru_cache

from lb4.address import Endpoint, IPAddress, written
from lb4.model import HealthCheck

Failure = str | None
Source = IPAddress | None
"""The address that a probe comes from; None leaves it to the kernel."""
Probe = Callable[[HealthCheck, Endpoint, Source], Awaitable[Failure]]

BODY_LIMIT = 65536
ICMP_ECHO = {"ip": (socket.IPPROTO_ICMP, 8, 0), "ip6": (socket.IPPROTO_ICMPV6, 128, 129)}
IP_BIND_ADDRESS_NO_PORT = 24
"""linux/in.h: the port is chosen when it is connected, so that many sockets may share one."""
RESET = struct.pack("ii", 1, 0)
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r\n)")


async def probe(check: HealthCheck, endpoint: Endpoint, source: Source = None) -> Failure:
    """Asks once, within `check.timeout` seconds."""
    target = Endpoint(endpoint.ip, check.port or endpoint.port)
    try:
        async with asyncio.timeout(check.timeout):
            return await PROBES[check.type](check, target, source)
    except TimeoutError:
        return f"no answer within {check.timeout:g}s"
    except ssl.SSLError as error:
        return f"TLS: {error.reason or error}"
    except UnicodeError as error:
        return f"no name that TLS can ask for: {error}"
    except ValueError as error:
        return str(error)
    except OSError as error:
        return (os.strerror(error.errno) if error.errno else str(error)).lower()


def _family(endpoint: Endpoint) -> socket.AddressFamily:
    return socket.AF_INET if endpoint.family == "ip" else socket.AF_INET6


async def _connected(endpoint: Endpoint, source: Source, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(_family(endpoint), kind | socket.SOCK_NONBLOCK)
    try:
        if source is not None:
            _bind(sock, source)
        code = sock.connect_ex((str(endpoint.ip), endpoint.port))
        if code == errno.EINPROGRESS:
            loop = asyncio.get_running_loop()
            await _event(loop.add_writer, loop.remove_writer, sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, source: IPAddress) -> None:
    """Has the socket come from there; packets may be translated to an address that no interface has: then it cannot."""
    try:
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((str(source), 0))
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise


async def _received(sock: socket.socket) -> bytes:
    """What comes next, at most BODY_LIMIT bytes; nothing at the end of the stream. Raises OSError."""
    loop = asyncio.get_running_loop()
    while True:
        await _event(loop.add_reader, loop.remove_reader, sock)
        try:
            return sock.recv(BODY_LIMIT)
        except BlockingIOError:
            continue


async def _event(add: Callable[..., object], remove: Callable[[socket.socket], object], sock: socket.socket) -> None:
    """Waits for one event of a socket; the loop's own sock_connect and sock_recv take a third more CPU."""
    happened = asyncio.get_running_loop().create_future()
    add(sock, _set, happened)
    try:
        await happened
    finally:
        remove(sock)


def _set(happened: asyncio.Future[None]) -> None:
    if not happened.done():
        happened.set_result(None)


async def _tcp(check: HealthCheck, endpoint: Endpoint, source: Source) -> Failure:
    with await _connected(endpoint, source, socket.SOCK_STREAM) as sock:
        # A reset instead of FIN leaves no TIME_WAIT behind: thousands of probes a second hold no ports.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    return None


async def _http(check: HealthCheck, endpoint: Endpoint, source: Source) -> Failure:
    with await _connected(endpoint, source, socket.SOCK_STREAM) as sock:
        sock.send(_request(check, endpoint))
        return _judged(check, await _answer(check, lambda: _received(sock)))


async def _https(check: HealthCheck, endpoint: Endpoint, source: Source) -> Failure:
    name = check.host.partition(":")[0] or str(endpoint.ip)
    sock = await _connected(endpoint, source, socket.SOCK_STREAM)
    reader, writer = await asyncio.open_connection(sock=sock, ssl=_tls(check.verify, check.ca), server_hostname=name)
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


async def _udp(check: HealthCheck, endpoint: Endpoint, source: Source) -> Failure:
    """An answer is good (and starts with `expect`); port-unreachable is bad; without an expectation silence is good."""
    with await _connected(endpoint, source, socket.SOCK_DGRAM) as sock:
        sock.send(check.payload)
        try:
            answer = await asyncio.wait_for(_received(sock), check.timeout * 0.9)
        except TimeoutError:
            return f"no answer within {check.timeout:g}s" if check.expect else None
    return None if answer.startswith(check.expect) else "another answer than expected"


async def _icmp(check: HealthCheck, endpoint: Endpoint, source: Source) -> Failure:
    """An echo (RFC 792, RFC 4443), by a socket of ICMP's own or, where this user may have none, by a raw one."""
    protocol, request, reply = ICMP_ECHO[endpoint.family]
    raw, number = False, random.randrange(1 << 16)
    try:
        sock = socket.socket(_family(endpoint), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, protocol)
    except PermissionError:
        sock, raw = socket.socket(_family(endpoint), socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol), True
    with sock:
        if source is not None:
            _bind(sock, source)
        sock.connect((str(endpoint.ip), 0))
        head = struct.pack("!BBHHH", request, 0, 0, number, 1)
        sock.send(head[:2] + checksum(head + check.payload) + head[4:] + check.payload)
        while True:
            answer = await _received(sock)
            if raw and endpoint.family == "ip":
                answer = answer[(answer[0] & 15) * 4 :]
            if answer[:1] == bytes([reply]) and (not raw or answer[4:6] == head[4:6]):
                return None


def checksum(data: bytes) -> bytes:
    """The Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1]))
    total += data[-1] << 8 if len(data) & 1 else 0
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)


async def _exec(check: HealthCheck, endpoint: Endpoint, source: Source) -> Failure:
    """Exit status 0 is good. The command sees LBCTL_ADDRESS and LBCTL_PORT."""
    environment = {"LBCTL_ADDRESS": str(endpoint.ip), "LBCTL_PORT": str(endpoint.port or "")}
    null = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *check.command,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
        stdin=null,
        stdout=null,
        stderr=null,
        start_new_session=True,
    )
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        # Its own children go with it: it leads a process group.
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    return None if code == 0 else f"{check.command[0]} exited with {code}"


PROBES: dict[str, Probe] = {"tcp": _tcp, "http": _http, "https": _https, "udp": _udp, "icmp": _icmp, "exec": _exec}
