"""The register expressions of a rule, named as in linux/netfilter/nf_tables.h.

The rule: registers are the sixteen 32-bit words of nf_tables, 0 to 15; what an expression has counted is no part of
equality.
"""

from __future__ import annotations

from dataclasses import dataclass

from lb4.nft.field import Verdict
from lb4.nft.lowered_set import AnonymousSet


@dataclass(frozen=True, slots=True)
class Meta:
    """register = a fact about the packet (enum nft_meta_keys)."""

    key: int
    register: int


@dataclass(frozen=True, slots=True)
class MetaSet:
    """A fact about the packet = register."""

    key: int
    register: int


@dataclass(frozen=True, slots=True)
class Payload:
    """register = bytes of the packet: base 1 is the network header, 2 the transport header."""

    base: int
    offset: int
    length: int
    register: int


@dataclass(frozen=True, slots=True)
class Ct:
    """register = a fact about the flow (enum nft_ct_keys); direction 0 original, 1 reply, None where it has none."""

    key: int
    register: int
    direction: int | None = None


@dataclass(frozen=True, slots=True)
class Fib:
    """register = what the routing table says (enum nft_fib_result)."""

    flags: int
    result: int
    register: int


@dataclass(frozen=True, slots=True)
class Cmp:
    """Goes on if the register compares so with the data (enum nft_cmp_ops)."""

    register: int
    op: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Bitwise:
    """register = (source & mask) ^ xor."""

    source: int
    register: int
    mask: bytes
    xor: bytes


@dataclass(frozen=True, slots=True)
class Byteorder:
    """register = source turned to network order (op 1) or from it (op 0)."""

    source: int
    register: int
    op: int
    length: int
    size: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """Goes on if the set has the key at source; register is where a map's data goes, None for a set."""

    source: int
    set: str | AnonymousSet
    register: int | None = None
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """register = numgen: kind 0 counts up, 1 is random."""

    register: int
    kind: int
    modulus: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Hash:
    """register = jhash of length bytes from source, scaled to 0…modulus-1."""

    source: int
    length: int
    register: int
    modulus: int
    seed: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Immediate:
    """register = data."""

    register: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Give:
    """The verdict register = a verdict."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Nat:
    """Translates: kind 0 source, 1 destination; family as in nfgenmsg; registers of address and port."""

    kind: int
    family: int
    address: int | None
    port: int | None = None
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Masq:
    """Translates the source to the address of the outgoing interface."""

    flags: int = 0


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answers and drops: type 1 is a TCP reset, 2 an ICMP unreachable of this code for either family."""

    type: int
    code: int = 0


@dataclass(frozen=True, slots=True)
class Count:
    """Counts packets and bytes."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Goes on below (or, inverted, above) rate packets per unit seconds."""

    rate: int
    unit: int
    burst: int
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Connlimit:
    """Goes on at no more than (or, inverted, more than) count live flows."""

    count: int
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Dynset:
    """Adds (op 0) or refreshes (op 1) the element with the key at source; timeout in milliseconds, 0 the set's."""

    set: str
    op: int
    source: int
    data: int | None = None
    timeout: int = 0
    expression: Limit | Connlimit | Count | None = None


@dataclass(frozen=True, slots=True)
class QueueTo:
    """Hands the packet to one of total queues from first."""

    first: int
    total: int
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Untrack:
    """Keeps the packet from conntrack."""


@dataclass(frozen=True, slots=True)
class Target:
    """An xtables target by name, revision and its own struct."""

    name: str
    revision: int
    info: bytes


@dataclass(frozen=True, slots=True)
class Unknown:
    """An expression that lbctl never writes, as somebody else put it."""

    name: str
    data: bytes


Expression = (
    Meta
    | MetaSet
    | Payload
    | Ct
    | Fib
    | Cmp
    | Bitwise
    | Byteorder
    | Lookup
    | Number
    | Hash
    | Immediate
    | Give
    | Nat
    | Masq
    | Refuse
    | Count
    | Limit
    | Connlimit
    | Dynset
    | QueueTo
    | Untrack
    | Target
    | Unknown
)
