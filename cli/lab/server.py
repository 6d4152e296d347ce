"""A server of the lab that says who it is and whom it saw: HTTP with keep-alive, TCP echo, UDP echo.

The rule: every answer names the server and the client address it saw, so that one answer proves where a packet went.

    python -m cli.lab.server --name server1 --http 8080 --http 8181 --tcp 9000 --udp 9000

It prints `ready` when all ports are open. TCP: a line `NAME CLIENT`, then an echo. UDP: `NAME CLIENT` and the
datagram. HTTP: see cli/lab/answers.py. `--dns 53`: the lab's name server too.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from typing import cast

from cli.lab.answers import Answers
from cli.lab.ports import PortRange, parse_ports


class HttpServer(asyncio.Protocol):
    """One client connection: requests are answered in order until it closes."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remembers whom it saw."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._client = written(transport.get_extra_info("peername"))
        self._local = written(transport.get_extra_info("sockname"))

    def data_received(self, data: bytes) -> None:
        """Answers every request that is whole."""
        self._received += data
        while (request := self._answers.take(self._received)) is not None:
            answer = self._answers.answer(request, self._client, self._local)
            self._transport.write(answer.message)
            if answer.close:
                self._transport.close()
                return


class EchoServer(asyncio.Protocol):
    """Greets with its name and the client's address, then echoes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greets."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(f"{self._name} {written(transport.get_extra_info('peername'))}\n".encode())

    def data_received(self, data: bytes) -> None:
        """Echoes."""
        self._transport.write(data)


class DatagramServer(asyncio.DatagramProtocol):
    """Answers each datagram with its name, the client's address and the datagram."""

    def __init__(self, name: str) -> None:
        self._name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps what it answers by."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, client: tuple[str, int]) -> None:
        """Answers."""
        self._transport.sendto(f"{self._name} {written(client)}\n".encode() + data, client)

    def error_received(self, error: Exception) -> None:
        """A client that is gone (ICMP unreachable) is no concern of the next one."""


def written(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    """A socket address as people write it; an IPv4 client of a dual-stack socket as IPv4."""
    host = address[0].removeprefix("::ffff:")
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"


def both_families(kind: socket.SocketKind, port: int) -> socket.socket:
    """A socket bound to the port on every address of both families."""
    opened = socket.socket(socket.AF_INET6, kind)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    opened.bind(("::", port))
    return opened


async def serve(
    name: str, http: list[PortRange], tcp: list[PortRange], udp: list[PortRange], dns: list[PortRange]
) -> None:
    """Serves until it is asked to stop (SIGTERM or SIGINT)."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for sent in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sent, stopped.set)
    answers = Answers(name)
    streams: list[tuple[list[PortRange], Callable[[], asyncio.Protocol]]] = [
        (http, lambda: HttpServer(answers)),
        (tcp, lambda: EchoServer(name)),
    ]
    for ranges, protocol in streams:
        for port in (port for ports in ranges for port in ports):
            await loop.create_server(protocol, sock=both_families(socket.SOCK_STREAM, port), backlog=1024)
    for port in (port for ports in udp for port in ports):
        await loop.create_datagram_endpoint(lambda: DatagramServer(name), sock=both_families(socket.SOCK_DGRAM, port))
    for port in (port for ports in dns for port in ports):
        from cli.lab.name_server import NameServer

        await loop.create_datagram_endpoint(NameServer, sock=both_families(socket.SOCK_DGRAM, port))
    print("ready", flush=True)
    await stopped.wait()


def main(arguments: list[str]) -> int:
    """Runs a server; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m cli.lab.server", description="A server that says who it is.")
    parser.add_argument("--name", required=True, help="how it calls itself")
    for kind in ("http", "tcp", "udp", "dns"):
        parser.add_argument(f"--{kind}", action="append", default=[], type=parse_ports, metavar="PORT[-PORT]")
    given = parser.parse_args(arguments)
    asyncio.run(serve(given.name, given.http, given.tcp, given.udp, given.dns))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
