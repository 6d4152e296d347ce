"""A netfilter netlink socket in the network namespace it is opened in: requests, dumps and batches.

The rule: it moves bytes and turns the kernel's error messages into NetlinkError; it knows no nf_tables and no
conntrack. Every call returns after the kernel has answered, so errors are never lost or left for a later call.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from types import TracebackType

from lb4.netlink import attributes

# linux/netlink.h
NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
NLMSGERR_ATTR_MSG = 1
NLMSGERR_ATTR_OFFS = 2

RECEIVE_BUFFER = 8 << 20
RECEIVE_SIZE = 1 << 18
SEND_BUFFER_MAX = 1 << 30

HEADER = Struct("=IHHII")
HEADER_SIZE = HEADER.size
_ERROR = Struct("=i")
_GENERIC = Struct(">BBH")


class NetlinkError(OSError):
    """The kernel's answer to one message: errno, its text from the extended ACK, where in the message it points.

    sequence is the refused message's own; offset counts from the start of its header, 0 where the kernel names none.
    """

    def __init__(self, number: int, text: str = "", sequence: int = 0, offset: int = 0) -> None:
        super().__init__(number, text or os.strerror(number))
        self.sequence = sequence
        self.offset = offset


class DumpInterrupted(Exception):
    """What was being dumped changed meanwhile: dump again."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message the kernel sent: its type and sequence number and the body after the netlink header."""

    type: int
    flags: int
    sequence: int
    body: bytes


def message(kind: int, flags: int, body: bytes, sequence: int = 0) -> bytes:
    """A request with its header; kind is the subsystem's number times 256 plus the message's."""
    size = HEADER_SIZE + len(body)
    return HEADER.pack(size, kind, flags | NLM_F_REQUEST, sequence, 0) + body + b"\0" * (-size & 3)


def generic(family: int, resource: int = 0) -> bytes:
    """The four bytes every netfilter message starts with (struct nfgenmsg): family, version 0, resource id."""
    return _GENERIC.pack(family, 0, resource)


class NetlinkSocket:
    """A raw NETLINK_NETFILTER socket. Opening needs no privilege; most requests take CAP_NET_ADMIN."""

    def __init__(self, protocol: int = NETLINK_NETFILTER) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        self._send_buffer = 0
        self._socket.bind((0, 0))
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._grow(SO_RCVBUFFORCE, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def __enter__(self) -> NetlinkSocket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Gives the socket back; what the kernel was made to hold stays."""
        self._socket.close()

    def fileno(self) -> int:
        """For select and event loops."""
        return self._socket.fileno()

    @property
    def port(self) -> int:
        """The number by which the kernel calls this socket; events of its transactions bear it."""
        return int(self._socket.getsockname()[0])

    def next_sequence(self) -> int:
        """A sequence number no earlier message of this socket had."""
        self._sequence += 1
        return self._sequence

    def dump(self, kind: int, body: bytes, flags: int = 0) -> list[bytes]:
        """The bodies of all messages of a dump. Raises NetlinkError, and DumpInterrupted where it is inconsistent."""
        bodies: list[bytes] = []
        interrupted = False
        self.send(message(kind, NLM_F_DUMP | flags, body, self.next_sequence()))
        sequence = self._sequence
        while True:
            data = self._socket.recv(RECEIVE_SIZE)
            at, end = 0, len(data)
            while at < end:
                length, type_, seen, seq, _ = HEADER.unpack_from(data, at)
                if seq == sequence:
                    interrupted |= bool(seen & NLM_F_DUMP_INTR)
                    if type_ == NLMSG_DONE:
                        return self._done(data, at, bodies, interrupted)
                    if type_ == NLMSG_ERROR:
                        _raise(data[at : at + length], seen)
                    bodies.append(data[at + 16 : at + length])
                at += (length + 3) & ~3

    def _done(self, data: bytes, at: int, bodies: list[bytes], interrupted: bool) -> list[bytes]:
        status = _ERROR.unpack_from(data, at + HEADER_SIZE)[0]
        if status < 0:
            raise NetlinkError(-status)
        if interrupted:
            raise DumpInterrupted
        return bodies

    def request(self, kind: int, body: bytes, flags: int = 0) -> list[bytes]:
        """One request that is acknowledged; the bodies of what came before the acknowledgement. Raises NetlinkError."""
        sequence = self.next_sequence()
        self.send(message(kind, NLM_F_ACK | flags, body, sequence))
        bodies = []
        for answer in self.receive():
            if answer.sequence != sequence:
                continue
            if answer.type == NLMSG_ERROR:
                _raise_body(answer)
                break
            bodies.append(answer.body)
        return bodies

    def request_each(self, kind: int, bodies: Sequence[bytes], flags: int = 0) -> dict[int, NetlinkError]:
        """Many requests of one kind in one send; the errors by the place of the request that failed.

        All must be of a kind that answers nothing but an acknowledgement.
        """
        first = self._sequence + 1
        packed = [message(kind, NLM_F_ACK | flags, body, self.next_sequence()) for body in bodies]
        errors = {}
        for at in range(0, len(packed), 256):
            chunk = packed[at : at + 256]
            self.send(b"".join(chunk))
            waiting = len(chunk)
            for answer in self.receive():
                error = error_of(answer)
                if error is not None:
                    errors[answer.sequence - first] = error
                waiting -= answer.type == NLMSG_ERROR
                if not waiting:
                    break
        return errors

    def receive(self) -> Iterator[Message]:
        """Messages as they come, without end; acknowledgements and errors among them (type NLMSG_ERROR)."""
        while True:
            yield from messages_in(self._socket.recv(RECEIVE_SIZE))

    def answers(self) -> Iterator[Message]:
        """What the kernel has answered by now, without waiting for more.

        Where so much was refused that not all of it fits, the first of it is told.
        """
        while True:
            try:
                data = self._socket.recv(RECEIVE_SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue
            yield from messages_in(data)

    def send(self, data: bytes) -> None:
        """Sends all of it as one datagram, however long: the kernel has dealt with it when this returns."""
        if len(data) > self._send_buffer // 2:
            self._send_buffer = min(2 * len(data) + (1 << 20), SEND_BUFFER_MAX)
            self._grow(SO_SNDBUFFORCE, socket.SO_SNDBUF, self._send_buffer)
        self._socket.send(data)

    def _grow(self, forced: int, usual: int, size: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, forced, size)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, usual, size)


def messages_in(data: bytes) -> Iterator[Message]:
    """The messages of one datagram."""
    at, end = 0, len(data)
    while at < end:
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
        yield Message(kind, flags, sequence, data[at + HEADER_SIZE : at + length])
        at += (length + 3) & ~3


def error_of(answer: Message) -> NetlinkError | None:
    """The error an NLMSG_ERROR message tells of, None for an acknowledgement or any other message."""
    if answer.type != NLMSG_ERROR:
        return None
    number = -_ERROR.unpack_from(answer.body)[0]
    if number == 0:
        return None
    about = _about(answer)
    text = attributes.text_of(about.get(NLMSGERR_ATTR_MSG, b""))
    offset = int.from_bytes(about.get(NLMSGERR_ATTR_OFFS, b""), sys.byteorder)
    return NetlinkError(number, text, answer.sequence, offset)


def _about(answer: Message) -> dict[int, bytes]:
    if not answer.flags & NLM_F_ACK_TLVS:
        return {}
    length = HEADER.unpack_from(answer.body, 4)[0]
    start = 4 + (HEADER_SIZE if answer.flags & NLM_F_CAPPED else (length + 3) & ~3)
    return attributes.parse(answer.body, start)


def _raise_body(answer: Message) -> None:
    error = error_of(answer)
    if error is not None:
        raise error


def _raise(data: bytes, flags: int) -> None:
    _, kind, _, sequence, _ = HEADER.unpack_from(data)
    _raise_body(Message(kind, flags, sequence, data[HEADER_SIZE:]))
