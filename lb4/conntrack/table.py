"""The flows the kernel tracks: reads them, ends some, and tells what happens to them.

The rule: everything lbctl asks of conntrack goes through Conntrack; which flows are meant is decided elsewhere
(lb4/conntrack/attribution.py). Sockets belong to the network namespace they were opened in.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from lb4.conntrack.message import (
    BE32,
    BODY,
    CT_GET_STATS,
    HEADER,
    IPS_DST_NAT,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    FlowEvent,
    decode_flow,
    dump_request,
    end_request,
    event_kind,
    message,
    messages,
)
from lb4.flow import Flow

NETLINK_NETFILTER = 12
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1
SO_RCVBUFFORCE = 33
RECEIVE = 1 << 17
EVENT_BUFFER = 8 << 20
"""Bytes of receive buffer for events: some twenty thousand of them."""

BATCH = 128
"""Flows ended with one send: as many errors as may come back fit into the receive buffer at its usual size."""

GROUP_NEW, GROUP_UPDATE, GROUP_DESTROY = 1, 2, 3
"""linux/netfilter/nfnetlink_compat.h: the multicast groups of conntrack's events."""


class ConntrackError(Exception):
    """Conntrack refused or cannot be reached: the message gives the kernel's reason."""


class EventsLost(ConntrackError):
    """Events came faster than they were read (ENOBUFS) and some are lost: read all flows again."""


class Conntrack(Protocol):
    """Conntrack of one network namespace."""

    def flows(self, translated: bool = True) -> Iterator[Flow]:
        """The tracked TCP and UDP flows, by default those alone whose destination is translated."""
        ...

    def end(self, flows: Iterable[Flow]) -> int:
        """Forgets these flows; how many were still there."""
        ...

    def count(self) -> int:
        """How many flows of any kind are tracked."""
        ...


class KernelConntrack:
    """Conntrack of the network namespace of the calling thread."""

    def flows(self, translated: bool = True) -> Iterator[Flow]:
        """The tracked TCP and UDP flows. Raises ConntrackError."""
        mask = IPS_DST_NAT if translated else 0
        with opened() as sock:
            sock.send(dump_request(1, translated))
            while True:
                data = sock.recv(RECEIVE)
                for kind, _, start, end in messages(data):
                    if kind == NLMSG_DONE:
                        return
                    if kind == NLMSG_ERROR:
                        raise refused("listing the tracked flows", error_of(data, start))
                    flow = decode_flow(data, start, end, mask)
                    if flow is not None:
                        yield flow

    def end(self, flows: Iterable[Flow]) -> int:
        """Forgets these flows; how many were still there. Raises ConntrackError."""
        doomed = tuple(flows)
        if not doomed:
            return 0
        with opened() as sock:
            return sum(end_batch(sock, doomed[i : i + BATCH]) for i in range(0, len(doomed), BATCH))

    def count(self) -> int:
        """How many flows of any kind are tracked. Raises ConntrackError."""
        with opened() as sock:
            sock.send(message(CT_GET_STATS, NLM_F_REQUEST, 1, 0, b""))
            data = sock.recv(RECEIVE)
            for kind, _, start, _ in messages(data):
                if kind == NLMSG_ERROR:
                    raise refused("counting the tracked flows", error_of(data, start))
                return int(BE32.unpack_from(data, start + BODY + 4)[0])
        return 0


class ConntrackEvents:
    """Events of flows as they come. Make it before reading all flows, so that nothing is missed in between."""

    def __init__(
        self, groups: Sequence[int] = (GROUP_NEW, GROUP_UPDATE, GROUP_DESTROY), buffer: int = EVENT_BUFFER
    ) -> None:
        """buffer: bytes of events that may wait."""
        self._socket = opened()
        self._socket.setblocking(False)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        for group in groups:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)

    def fileno(self) -> int:
        """For a selector or an event loop: readable when events wait."""
        return self._socket.fileno()

    def read(self) -> list[FlowEvent]:
        """The events that wait now, of one receive; empty where none do. Raises EventsLost and ConntrackError."""
        try:
            data = self._socket.recv(RECEIVE)
        except BlockingIOError:
            return []
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise EventsLost("conntrack's events came faster than they were read") from None
            raise refused("reading events", error.errno or 0) from None
        return [event for event in decoded_events(data) if event is not None]

    def close(self) -> None:
        """Lets go of the socket."""
        self._socket.close()


def decoded_events(data: bytes) -> Iterator[FlowEvent | None]:
    """The events of one receive; None for what is no TCP or UDP flow."""
    for kind, flags, start, end in messages(data):
        what = event_kind(kind, flags)
        flow = None if what is None else decode_flow(data, start, end)
        yield None if what is None or flow is None else FlowEvent(what, flow)


def opened() -> socket.socket:
    """A netfilter netlink socket of this network namespace. Raises ConntrackError."""
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        sock.bind((0, 0))
    except OSError as error:
        raise refused("opening a netlink socket", error.errno or 0) from None
    return sock


def end_batch(sock: socket.socket, flows: Sequence[Flow]) -> int:
    """Ends some flows with one send; the last one is acknowledged, whatever failed before it comes as an error."""
    last = len(flows)
    sock.send(b"".join(end_request(flow, n, n == last) for n, flow in enumerate(flows, 1)))
    ended = last
    while True:
        data = sock.recv(RECEIVE)
        for kind, _, start, _ in messages(data):
            if kind != NLMSG_ERROR:
                continue
            code, sequence = error_of(data, start), HEADER.unpack_from(data, start)[3]
            if code == errno.ENOENT:
                ended -= 1
            elif code:
                raise refused("ending a flow", code)
            if sequence == last:
                return ended


def error_of(data: bytes, start: int) -> int:
    """The errno of an NLMSG_ERROR message, 0 for an acknowledgement."""
    return -int.from_bytes(data[start + HEADER.size : start + HEADER.size + 4], "little", signed=True)


def refused(what: str, code: int) -> ConntrackError:
    """The error of a system call's errno."""
    missing = " (the module nf_conntrack_netlink is missing)" if code in (errno.EINVAL, errno.EPROTONOSUPPORT) else ""
    return ConntrackError(f"{what}: {os.strerror(code)}{missing}")
