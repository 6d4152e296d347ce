"""Conntrack's netlink messages as bytes: a dumped flow or an event to a Flow, and the request that ends one.

The rule: bytes in, values out, no socket. Attributes are those of linux/netfilter/nfnetlink_conntrack.h; of the
tuples the kernel writes addresses first and ports next (nf_conntrack_netlink.c, ctnetlink_dump_tuples), at
fixed places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6, AF_UNSPEC
from struct import Struct, pack

from lb4.address import Endpoint, IPAddress
from lb4.flow import Flow
from lb4.model import Protocol

SUBSYSTEM = 1 << 8
"""linux/netfilter/nfnetlink.h: NFNL_SUBSYS_CTNETLINK as the high byte of a message type."""

CT_NEW, CT_GET, CT_DELETE, CT_GET_STATS = 0, 1, 2, 5
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS, CTA_PROTOINFO, CTA_TIMEOUT, CTA_MARK = 1, 2, 3, 4, 7, 8
CTA_COUNTERS_ORIG, CTA_COUNTERS_REPLY, CTA_ID, CTA_FILTER, CTA_STATUS_MASK = 9, 10, 12, 25, 26
NESTED = 0x8000
IPS_DST_NAT = 1 << 5
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_CREATE = 0x1, 0x4, 0x300, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3

TCP_STATES = (
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
)
"""linux/netfilter/nf_conntrack_tcp.h, enum tcp_conntrack."""

PROTOCOLS = {6: Protocol.TCP, 17: Protocol.UDP}
NUMBERS = {Protocol.TCP: 6, Protocol.UDP: 17}

HEADER = Struct("=IHHII")
GENERIC = Struct("=BBH")
ATTRIBUTE = Struct("=HH")
COUNTERS = Struct("!4xQ4xQ")
BE32 = Struct("!I")
BODY = HEADER.size + GENERIC.size

TUPLE4 = Struct("!8x4x4s4x4s4x4xB3x4xH2x4xH2x")
"""CTA_TUPLE_*{CTA_TUPLE_IP{SRC, DST}, CTA_TUPLE_PROTO{NUM, SRC_PORT, DST_PORT}} of IPv4, 52 bytes with its headers."""

TUPLE6 = Struct("!8x4x16s4x16s4x4xB3x4xH2x4xH2x")
"""The same of IPv6, 76 bytes."""


class EventKind(Enum):
    """What happened to a flow."""

    NEW = "new"
    UPDATE = "update"
    DESTROY = "destroy"


@dataclass(frozen=True, slots=True)
class FlowEvent:
    """A flow began, went on to another state, or was forgotten."""

    kind: EventKind
    flow: Flow


@lru_cache(maxsize=1 << 16)
def address_of(packed: bytes) -> IPAddress:
    """The address of its 4 or 16 bytes."""
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


@lru_cache(maxsize=1 << 16)
def endpoint_of(packed: bytes, port: int) -> Endpoint:
    """The endpoint of its address's bytes and its port."""
    return Endpoint(address_of(packed), port)


def decode_flow(data: bytes, start: int, end: int, status_mask: int = 0) -> Flow | None:
    """The flow of the message between start and end; None where it is neither TCP nor UDP, or lacks all of the status.

    status_mask: bits of CTA_STATUS of which one must be set, 0 for any.
    """
    family = data[start + HEADER.size]
    tuples = TUPLE4 if family == AF_INET else TUPLE6
    original = start + BODY
    reply = original + ATTRIBUTE.unpack_from(data, original)[0]
    if reply - original < tuples.size or end - reply < tuples.size:
        return None
    src, dst, number, sport, dport = tuples.unpack_from(data, original)
    protocol = PROTOCOLS.get(number)
    if protocol is None:
        return None
    offset = reply + ATTRIBUTE.unpack_from(data, reply)[0]
    back_src, back_dst, _, back_sport, back_dport = tuples.unpack_from(data, reply)
    there = back = (0, 0)
    state, timeout, mark, identity = "", 0, 0, 0
    while offset < end:
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        kind &= 0x3FFF
        if kind == CTA_STATUS:
            if status_mask and not BE32.unpack_from(data, offset + 4)[0] & status_mask:
                return None
        elif kind == CTA_TIMEOUT:
            timeout = BE32.unpack_from(data, offset + 4)[0]
        elif kind == CTA_COUNTERS_ORIG:
            there = COUNTERS.unpack_from(data, offset + 4)
        elif kind == CTA_COUNTERS_REPLY:
            back = COUNTERS.unpack_from(data, offset + 4)
        elif kind == CTA_PROTOINFO and protocol is Protocol.TCP:
            state = TCP_STATES[data[offset + 12]] if data[offset + 12] < len(TCP_STATES) else ""
        elif kind == CTA_MARK:
            mark = BE32.unpack_from(data, offset + 4)[0]
        elif kind == CTA_ID:
            identity = BE32.unpack_from(data, offset + 4)[0]
        offset += (length + 3) & ~3
    return Flow(
        protocol=protocol,
        client=Endpoint(address_of(src), sport),
        target=endpoint_of(dst, dport),
        source=Endpoint(address_of(back_dst), back_dport),
        backend=endpoint_of(back_src, back_sport),
        state=state,
        packets=(there[0], back[0]),
        bytes=(there[1], back[1]),
        timeout=timeout,
        id=identity,
        mark=mark,
    )


def messages(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(type, flags, start, end) of each netlink message in what one receive gave."""
    start = 0
    while start + HEADER.size <= len(data):
        length, kind, flags, _, _ = HEADER.unpack_from(data, start)
        if length < HEADER.size:
            return
        yield kind, flags, start, start + length
        start += (length + 3) & ~3


def event_kind(kind: int, flags: int) -> EventKind | None:
    """What a message from the event groups tells; None if it is none of conntrack's events."""
    if kind == SUBSYSTEM | CT_DELETE:
        return EventKind.DESTROY
    if kind == SUBSYSTEM | CT_NEW:
        return EventKind.NEW if flags & NLM_F_CREATE else EventKind.UPDATE
    return None


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, flags: int, sequence: int, family: int, body: bytes) -> bytes:
    """A request of conntrack's subsystem."""
    length = BODY + len(body)
    return HEADER.pack(length, SUBSYSTEM | kind, flags, sequence, 0) + GENERIC.pack(family, 0, 0) + body


def dump_request(sequence: int, translated: bool) -> bytes:
    """Asks for all flows; with translated only for those whose destination is translated, sorted out by the kernel."""
    status = BE32.pack(IPS_DST_NAT)
    body = attribute(CTA_STATUS, status) + attribute(CTA_STATUS_MASK, status) if translated else b""
    return message(CT_GET, NLM_F_REQUEST | NLM_F_DUMP, sequence, AF_UNSPEC, body)


def end_request(flow: Flow, sequence: int, acknowledged: bool) -> bytes:
    """Ends this flow and no other that took its addresses over since: by its original addresses and its id."""
    family = AF_INET if flow.client.family == "ip" else AF_INET6
    flags = NLM_F_REQUEST | (NLM_F_ACK if acknowledged else 0)
    body = tuple_of(flow.client, flow.target, NUMBERS[flow.protocol])
    if flow.id:
        body += attribute(CTA_ID, BE32.pack(flow.id))
    return message(CT_DELETE, flags, sequence, family, body)


def tuple_of(source: Endpoint, destination: Endpoint, number: int) -> bytes:
    """CTA_TUPLE_ORIG of two endpoints and a protocol number."""
    first = 1 if source.family == "ip" else 3
    addresses = attribute(first, source.ip.packed) + attribute(first + 1, destination.ip.packed)
    ports = attribute(2, pack("!H", source.port or 0)) + attribute(3, pack("!H", destination.port or 0))
    protocol = attribute(1, bytes([number])) + ports
    return attribute(CTA_TUPLE_ORIG | NESTED, attribute(1 | NESTED, addresses) + attribute(2 | NESTED, protocol))
