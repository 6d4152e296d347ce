"""A packet queue on a netlink socket of our own: packets received in batches, verdicts sent in batches.

The rule: one recvmmsg brings up to BATCH packets and one send carries all their verdicts. The kernel is left to segment
large packets and to complete checksums (no NFQA_CFG_F_GSO), so the handler sees packets as they are on a wire.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from struct import Struct

from lb4.packet import queue_message as nfq
from lb4.packet.packet_queue import LENGTH, Complain, Handler, QueueError
from lb4.packet.receive_many import ReceiveMany
from lb4.packet.translate import Outcome

NETLINK_NETFILTER = 12
SOL_NETLINK, NETLINK_NO_ENOBUFS = 270, 5
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
BATCH = 64
ROUNDS = 8
"""Batches that one call of `process` takes at most, so that the caller's other work gets its turn."""
RECEIVE_BUFFER = 64 << 20
SEND_BUFFER = 16 << 20
MESSAGE_MAX = 65536 + 512

_TYPE = Struct("=H")
_ERROR = Struct("=i")
_ATTRIBUTE = Struct("=HH")
_PACKET = _TYPE.pack(nfq.PACKET)
_CUT = nfq.COPY_MAX
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


def bound(queue: int, copy: int, flags: int = 0, length: int = LENGTH) -> socket.socket:
    """A socket bound to a queue that copies so many bytes of each packet. Raises QueueError."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    try:
        sock.bind((0, 0))
        sock.setsockopt(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)
        _grow(sock)
        _configure(sock, queue, nfq.attribute(nfq.CFG_CMD, bytes((nfq.CMD_BIND, 0, 0, 0))))
        params = copy.to_bytes(4, "big") + bytes((nfq.COPY_PACKET,))
        attributes = nfq.attribute(nfq.CFG_PARAMS, params)
        attributes += nfq.attribute(nfq.CFG_QUEUE_MAXLEN, length.to_bytes(4, "big"))
        attributes += nfq.attribute(nfq.CFG_FLAGS, flags.to_bytes(4, "big"))
        attributes += nfq.attribute(nfq.CFG_MASK, flags.to_bytes(4, "big"))
        _configure(sock, queue, attributes)
    except OSError as error:
        sock.close()
        taken = "another process has it, or CAP_NET_ADMIN is missing"
        why = taken if isinstance(error, PermissionError) else error.strerror
        raise QueueError(f"packet queue {queue} cannot be had: {why}") from None
    return sock


def _grow(sock: socket.socket) -> None:
    for forced, usual, size in (
        (SO_RCVBUFFORCE, socket.SO_RCVBUF, RECEIVE_BUFFER),
        (SO_SNDBUFFORCE, socket.SO_SNDBUF, SEND_BUFFER),
    ):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, size)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, usual, size)


def _configure(sock: socket.socket, queue: int, attributes: bytes) -> None:
    sock.send(nfq.config(queue, attributes, 1))
    while True:
        answer = sock.recv(MESSAGE_MAX)
        if _TYPE.unpack_from(answer, 4)[0] == 2:
            (number,) = _ERROR.unpack_from(answer, 16)
            if number:
                raise OSError(-number, os.strerror(-number))
            return


class NetlinkQueue:
    """The queue of one worker. See PacketQueue."""

    copy_limit = nfq.COPY_MAX

    def __init__(
        self, queue: int, handle: Handler, complain: Complain, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """queue: its number; an Outcome that is a number hands the packet to that queue. Raises QueueError."""
        self.failed = 0
        self.cut = 0
        self._handle, self._complain, self._clock = handle, complain, clock
        self._verdicts = nfq.Verdicts(queue)
        self._socket = bound(queue, nfq.COPY_MAX)
        self._many = ReceiveMany(self._socket.fileno(), BATCH, MESSAGE_MAX)
        self._payload_at = nfq.ATTRIBUTES_AT

    def fileno(self) -> int:
        """Readable when packets wait."""
        return self._socket.fileno()

    def close(self) -> None:
        """Lets go of the queue."""
        self._socket.close()

    def process(self) -> None:
        """Gives a verdict on what waits. Raises OSError where the socket broke."""
        for _ in range(ROUNDS):
            lengths = self._many.receive()
            if lengths:
                self._batch(lengths)
            if len(lengths) < BATCH:
                return

    def _batch(self, lengths: list[int]) -> None:
        """The loop that every packet goes through: written for speed."""
        answers: list[bytes | bytearray] = []
        now = self._clock()
        handle, accept_as = self._handle, self._verdicts.accept_as
        for buffer, length in zip(self._many.buffers, lengths, strict=False):
            message = bytes(buffer[:length])
            data = self._payload(message)
            if data is None:
                continue
            packet = message[nfq.ID]
            try:
                outcome = handle(data, now)
            except Exception as error:  # noqa: BLE001 a packet without a verdict would stay in the kernel for ever
                self._raised(error)
                outcome = None
            if type(outcome) is bytearray and len(data) < _CUT:
                size = len(outcome)
                answers += (accept_as(packet, size), outcome, _PADDING[size & 3])
            else:
                answers += self._rarer(packet, data, outcome)
        self._socket.send(b"".join(answers))

    def _payload(self, message: bytes) -> bytes | None:
        """The packet in a message; it is the last attribute, nearly always where it was the last time."""
        if message[4:6] != _PACKET:
            return None
        at, end = self._payload_at, len(message)
        if at + 4 <= end:
            length, kind = _ATTRIBUTE.unpack_from(message, at)
            if kind == nfq.A_PAYLOAD and end - 4 < at + length <= end:
                return message[at + 4 : at + length]
        found = nfq.attribute_at(message, end, nfq.A_PAYLOAD)
        if found is None:
            return b""
        self._payload_at = found[0] - 4
        return message[found[0] : found[1]]

    def _raised(self, error: Exception) -> None:
        self.failed += 1
        self._complain(f"the packet hook failed, the packet was dropped: {error!r}")

    def _rarer(self, packet: bytes, data: bytes, outcome: Outcome) -> tuple[bytes | bytearray, ...]:
        """Drops, packets that go on as they are, the balancer's own answers, packets of another worker."""
        if len(data) >= self.copy_limit:
            self.cut += 1
            return (self._verdicts.plain(nfq.NF_DROP, packet),)
        if outcome is None:
            return (self._verdicts.plain(nfq.NF_DROP, packet),)
        if outcome is data:
            return (self._verdicts.plain(nfq.NF_ACCEPT, packet),)
        if isinstance(outcome, int):
            return (self._verdicts.elsewhere(outcome, packet),)
        return self._verdicts.accept_as(packet, len(outcome)), outcome, _PADDING[len(outcome) & 3]
