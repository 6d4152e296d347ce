"""What lbctl's table is made of: the names of its sets and chains, and the keys of their elements.

The rule: who makes the table and who reads it back name things by this file alone. Names of one listener end in its
name and, where the families are apart, `-4` or `-6`; names that start with a hook are base chains.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from ipaddress import ip_address

from lb4.address import Bind, Endpoint, Family, IPAddress
from lb4.model import Protocol
from lb4.nft.field import CtState, Field, Key, Value
from lb4.nft.ruleset import Set

SUFFIX: dict[Family, str] = {"ip": "4", "ip6": "6"}
PROTOCOL_NUMBER = {Protocol.TCP: b"\x06", Protocol.UDP: b"\x11"}
PROTOCOL_OF = {number: protocol for protocol, number in PROTOCOL_NUMBER.items()}
NFPROTO: dict[Family, bytes] = {"ip": b"\x02", "ip6": b"\x0a"}

ADDRESS_TYPE: dict[Family, str] = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}
SADDR: dict[Family, Field] = {"ip": Field.IP_SADDR, "ip6": Field.IP6_SADDR}
DADDR: dict[Family, Field] = {"ip": Field.IP_DADDR, "ip6": Field.IP6_DADDR}
TARGET: dict[Family, Field] = {"ip": Field.CT_ORIGINAL_IP_DADDR, "ip6": Field.CT_ORIGINAL_IP6_DADDR}

NEW = CtState.NEW
INVALID = CtState.INVALID


def arriving(family: Family) -> Key:
    """Where a packet is going before it is translated: the key of what is looked up by bind."""
    return (DADDR[family], Field.L4PROTO, Field.TH_DPORT)


def leaving(family: Family) -> Key:
    """Where a packet comes from: a backend's answer."""
    return (SADDR[family], Field.L4PROTO, Field.TH_SPORT)


def arrived(family: Family) -> Key:
    """Where a translated flow's client had sent it."""
    return (TARGET[family], Field.L4PROTO, Field.CT_ORIGINAL_PROTO_DST)


def to_backend(family: Family) -> Key:
    """The bind and the backend of a packet on its way to the backend."""
    return (*arrived(family), DADDR[family], Field.TH_DPORT)


def from_backend(family: Family) -> Key:
    """The bind and the backend of a packet on its way back."""
    return (*arrived(family), SADDR[family], Field.TH_SPORT)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the elements of one of the table's shared sets are."""

    pair: bool = False
    verdict: bool = False
    counter: bool = False


SHARED: dict[str, Shape] = {
    "listener": Shape(verdict=True),
    "filter": Shape(verdict=True),
    "source": Shape(verdict=True),
    "queued": Shape(),
    "bind": Shape(),
    "backend": Shape(),
    "connection": Shape(pair=True, counter=True),
    "traffic": Shape(pair=True, counter=True),
}
"""By kind: `listener` → sets listeners4, listener-ranges4 and so on. A pair is a bind and a backend."""


def shared_name(kind: str, family: Family, ranges: bool = False) -> str:
    """The name of a shared set: `listeners4`, or `listener-ranges4` for what has ranges of ports."""
    plural = kind if kind in ("traffic", "queued") else f"{kind}s"
    return f"{kind}-ranges{SUFFIX[family]}" if ranges else f"{plural}{SUFFIX[family]}"


def shared_set(kind: str, family: Family, ranges: bool = False) -> Set:
    """A shared set without its elements."""
    shape = SHARED[kind]
    bind = (ADDRESS_TYPE[family], "inet_proto", "inet_service")
    return Set(
        shared_name(kind, family, ranges),
        (*bind, ADDRESS_TYPE[family], "inet_service") if shape.pair else bind,
        data="verdict" if shape.verdict else None,
        interval=ranges,
        counter=shape.counter,
    )


SLOT_MAPS = 64
"""The kernel walks through all rules that use a map to add another (nf_tables_bind_set), and through all sets of a
table to add another set: slots of many listeners share these many maps."""


def slots_name(label: str, family: Family, with_port: bool) -> str:
    """The map that has an entrance's slots: of backends with ports of their own, or of those that keep the client's."""
    shard = zlib.crc32(label.encode()) % SLOT_MAPS
    return f"{'slots' if with_port else 'portless-slots'}-{shard}-{SUFFIX[family]}"


def slots_set(name: str, family: Family, with_port: bool) -> Set:
    """Such a map without its elements."""
    address = ADDRESS_TYPE[family]
    return Set(name, ("integer",), (address, "inet_service") if with_port else (address,))


def bind_value(bind: Bind, protocol: Protocol, port: int) -> Value:
    """The key of one port of a bind."""
    return (bind.ip.packed, PROTOCOL_NUMBER[protocol], port.to_bytes(2, "big"))


def target_value(ip: IPAddress, port: int | None) -> Value:
    """The datum of a translation: address and port, or the address alone."""
    return (ip.packed,) if port is None else (ip.packed, port.to_bytes(2, "big"))


def endpoint_of(value: Value) -> Endpoint:
    """The address and port, if it has one, that a datum or the end of a pair's key says."""
    ip = ip_address(value[0])
    return Endpoint(ip, int.from_bytes(value[1], "big") if len(value) > 1 else None)
