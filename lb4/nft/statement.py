"""The statements of a rule: what it asks of a packet, and what it does with it.

The rule: one class for each statement of nft that lbctl writes; none of another kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lb4.address import Family
from lb4.nft.field import Field, Key, Value, Verdict


@dataclass(frozen=True, slots=True)
class Match:
    """`FIELD == value`, or != where negated. value in network order for packet fields, host order else."""

    field: Field
    value: bytes
    negated: bool = False


@dataclass(frozen=True, slots=True)
class HasFlag:
    """The field, a bit set, has one of the flags: `ct state invalid`, `ct status dnat`."""

    field: Field
    flags: int


@dataclass(frozen=True, slots=True)
class MoreBytes:
    """`ct bytes > n`: also what makes the kernel account flows (nft_ct.c, nf_ct_set_acct)."""

    over: int = 0


@dataclass(frozen=True, slots=True)
class IsOneOf:
    """`FIELD { a, b }`: an anonymous set written into the rule."""

    field: Field
    values: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class InSet:
    """`KEY @set`, or `KEY != @set` where negated. A set with counters counts the packet at its element."""

    key: Key
    set: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class VerdictMap:
    """`KEY vmap @map`: the verdict of the key's element; nothing happens where there is none."""

    key: Key
    map: str


@dataclass(frozen=True, slots=True)
class Counter:
    """Counts packets and bytes that come this far. What it counted is no part of the value."""


@dataclass(frozen=True, slots=True)
class ConnectionCount:
    """`ct count over N`: more than N flows came this far and live."""

    over: int


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`limit rate over N/UNIT burst B packets`: matches what is above the rate. per: 1, 60, 3600 or 86400 seconds."""

    count: int
    per: int
    burst: int


@dataclass(frozen=True, slots=True)
class UpdateSet:
    """`update @set { KEY [timeout T] [ct count over N | limit rate over …] [: DATA] }`; `add` where refresh is False.

    With an expression it matches when the expression does, for this key's own count.
    """

    set: str
    key: Key
    refresh: bool = True
    timeout: int | None = None
    expression: ConnectionCount | RateLimit | None = None
    data: Key | None = None


class RejectKind(StrEnum):
    """How the client is told."""

    TCP_RESET = "tcp reset"
    PORT_UNREACHABLE = "icmpx port-unreachable"


@dataclass(frozen=True, slots=True)
class Reject:
    """Answers the client and drops the packet."""

    kind: RejectKind


class NumgenMode(StrEnum):
    """How nft's number generator goes on: one after the other, or at random."""

    INC = "inc"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Numgen:
    """`numgen MODE mod N offset O`: a number from O to O+N-1, in host order."""

    mode: NumgenMode
    modulus: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Jhash:
    """`jhash KEY mod N seed S`: the kernel's Jenkins hash (linux/jhash.h) scaled to O…O+N-1, O being the offset."""

    key: Key
    modulus: int
    seed: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class MapLookup:
    """`SELECTOR map @name`; the rule stops where the map has no such element. A number looks up an `integer`."""

    selector: Key | Numgen | Jhash
    map: str


@dataclass(frozen=True, slots=True)
class SlotLookup:
    """`NUMBER map { 0 : a, 1-2 : b, … }`: an anonymous map from slots 0…N-1, slots[i] being slot i's datum."""

    number: Numgen | Jhash
    slots: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Constant:
    """An address and, where there is one, a port, written into the rule."""

    value: Value


Translation = Constant | MapLookup | SlotLookup


@dataclass(frozen=True, slots=True)
class Dnat:
    """`dnat FAMILY to …`: ends the chain. with_port: the datum is an address and a port, else an address alone."""

    family: Family
    to: Translation
    with_port: bool


@dataclass(frozen=True, slots=True)
class Snat:
    """`snat FAMILY to …` an address, the port chosen by the kernel."""

    family: Family
    to: Translation
    fully_random: bool = False


@dataclass(frozen=True, slots=True)
class Masquerade:
    """`masquerade`: the source becomes the address of the outgoing interface."""

    fully_random: bool = False


@dataclass(frozen=True, slots=True)
class SetMark:
    """`meta mark set (meta mark & mask) ^ xor`."""

    mask: int
    xor: int = 0


@dataclass(frozen=True, slots=True)
class Notrack:
    """The packet is none of conntrack's business."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Hands the packet to a user space queue, first to last by CPU; bypass: go on where nobody listens.

    xtables: by the NFQUEUE target (linux/netfilter/xt_NFQUEUE.h, revision 3) where the kernel lacks `queue`.
    """

    first: int
    last: int
    bypass: bool
    xtables: bool = False


Statement = (
    Match
    | HasFlag
    | MoreBytes
    | IsOneOf
    | InSet
    | VerdictMap
    | Counter
    | ConnectionCount
    | RateLimit
    | UpdateSet
    | Reject
    | Dnat
    | Snat
    | Masquerade
    | SetMark
    | Notrack
    | Queue
    | Verdict
)
