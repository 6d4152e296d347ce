"""Real TCP and UDP in the namespaces: servers in threads, clients in the caller.

The rule: sockets are made inside a namespace and used from anywhere.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.packet.network import Network

CHUNK = 1 << 18
SECONDS = 10


def stream(net: Network, node: str, family: int = socket.AF_INET) -> socket.socket:
    with net.inside(node):
        sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(SECONDS)
    return sock


def datagram(net: Network, node: str, family: int = socket.AF_INET) -> socket.socket:
    with net.inside(node):
        sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(SECONDS)
    return sock


@contextmanager
def tcp_server(
    net: Network, node: str, serve: Callable[[socket.socket], None], port: int = 8080, family: int = socket.AF_INET
) -> Iterator[None]:
    """Each connection is served in a thread of its own and closed then."""
    listening = stream(net, node, family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    listening.listen(512)
    listening.settimeout(None)

    def one(connection: socket.socket) -> None:
        with connection:
            try:
                serve(connection)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            # A client may be silent while lbctl is started anew, which takes long in an emulated machine.
            connection.settimeout(20 * SECONDS)
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)


@contextmanager
def udp_echo(net: Network, node: str, name: bytes = b"", port: int = 8080) -> Iterator[None]:
    """Sends each datagram back with a name before it."""
    sock = datagram(net, node)
    sock.bind(("0.0.0.0", port))
    sock.settimeout(0.1)
    stopped = threading.Event()

    def echo() -> None:
        while not stopped.is_set():
            try:
                data, address = sock.recvfrom(65536)
            except TimeoutError:
                continue
            sock.sendto(name + data, address)

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(5)
        sock.close()


def pattern(size: int) -> Iterator[bytes]:
    """So many bytes, of which no two chunks are alike."""
    sent = 0
    while sent < size:
        block = hashlib.sha256(sent.to_bytes(8, "big")).digest() * (CHUNK // 32)
        yield block[: size - sent]
        sent += CHUNK


def digest(blocks: Iterator[bytes]) -> str:
    found = hashlib.sha256()
    for block in blocks:
        found.update(block)
    return found.hexdigest()


def received(sock: socket.socket) -> Iterator[bytes]:
    while block := sock.recv(CHUNK):
        yield block
