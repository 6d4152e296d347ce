"""A ruleset as a typed value, in nft's own vocabulary: tables hold sets, maps and chains; chains hold rules.

The rule: what is written here is what the kernel shall hold, nothing more; how it is written (as text, as netlink
messages) is other files' business. Two equal values mean the same to the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntFlag, StrEnum

from lb4.address import Family


class Field(Enum):
    """Something of a packet or its flow that a rule can read: (nft text, bytes in a register, set key type)."""

    NFPROTO = ("meta nfproto", 1, "nf_proto")
    L4PROTO = ("meta l4proto", 1, "inet_proto")
    MARK = ("meta mark", 4, "mark")
    IIFNAME = ("iifname", 16, "ifname")
    FIB_DADDR_TYPE = ("fib daddr type", 4, "fib_addrtype")
    IP_SADDR = ("ip saddr", 4, "ipv4_addr")
    IP_DADDR = ("ip daddr", 4, "ipv4_addr")
    IP6_SADDR = ("ip6 saddr", 16, "ipv6_addr")
    IP6_DADDR = ("ip6 daddr", 16, "ipv6_addr")
    TH_SPORT = ("th sport", 2, "inet_service")
    TH_DPORT = ("th dport", 2, "inet_service")
    CT_STATE = ("ct state", 4, "ct_state")
    CT_STATUS = ("ct status", 4, "ct_status")
    CT_DIRECTION = ("ct direction", 1, "ct_dir")
    CT_MARK = ("ct mark", 4, "mark")
    CT_BYTES = ("ct bytes", 8, "integer")
    CT_ORIGINAL_IP_SADDR = ("ct original ip saddr", 4, "ipv4_addr")
    CT_ORIGINAL_IP_DADDR = ("ct original ip daddr", 4, "ipv4_addr")
    CT_ORIGINAL_IP6_SADDR = ("ct original ip6 saddr", 16, "ipv6_addr")
    CT_ORIGINAL_IP6_DADDR = ("ct original ip6 daddr", 16, "ipv6_addr")
    CT_ORIGINAL_PROTO_DST = ("ct original proto-dst", 2, "inet_service")

    @property
    def text(self) -> str:
        """How nft writes it."""
        return self.value[0]

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.value[1]

    @property
    def type(self) -> str:
        """The data type of a set key made of it."""
        return self.value[2]


Key = tuple[Field, ...]
"""One field, or several concatenated."""

Value = tuple[bytes, ...]
"""A key's or datum's value: one byte string per field, each in the order the packet has it (network order)."""


class CtState(IntFlag):
    """linux/netfilter/nf_conntrack_common.h as nft tests it: `ct state`."""

    INVALID = 1
    ESTABLISHED = 2
    RELATED = 4
    NEW = 8
    UNTRACKED = 64


class CtStatus(IntFlag):
    """linux/netfilter/nf_conntrack_common.h, IPS_*: `ct status`."""

    CONFIRMED = 1 << 3
    SNAT = 1 << 4
    DNAT = 1 << 5


class VerdictKind(StrEnum):
    """What a rule does with a packet in the end."""

    ACCEPT = "accept"
    DROP = "drop"
    RETURN = "return"
    CONTINUE = "continue"
    JUMP = "jump"
    GOTO = "goto"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict; jump and goto name a chain of the same table."""

    kind: VerdictKind
    chain: str = ""


# ---- sets and maps


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a set or map: `low` is its key, `high` the upper end (included) in an interval set, else None.

    data: a Value in a map of data, a Verdict in a verdict map, None in a set.
    """

    low: Value
    high: Value | None = None
    data: Value | Verdict | None = None


@dataclass(frozen=True, slots=True)
class Set:
    """A named set, map or verdict map.

    data: None for a set, "verdict" for a verdict map, else the types of a map's data. counter: every element counts
    what it matches. dynamic: rules add to it, so its elements are no part of the value, and `elements` is empty.
    timeout: seconds after which an element goes unless it is refreshed, or None. size: the most elements, or None.
    elements: in the order of their keys.
    """

    name: str
    key: tuple[str, ...]
    data: tuple[str, ...] | str | None = None
    interval: bool = False
    counter: bool = False
    dynamic: bool = False
    timeout: int | None = None
    size: int | None = None
    elements: tuple[Element, ...] = ()


# ---- statements of a rule


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


@dataclass(frozen=True, slots=True)
class Rule:
    """Statements taken from left to right until one does not match. comment is kept in the kernel and shown by nft."""

    statements: tuple[Statement, ...]
    comment: str = ""


class Hook(StrEnum):
    """Where in a packet's way a base chain stands. lbctl has none at ingress, but others may put one into its table."""

    PREROUTING = "prerouting"
    INPUT = "input"
    FORWARD = "forward"
    OUTPUT = "output"
    POSTROUTING = "postrouting"
    INGRESS = "ingress"


@dataclass(frozen=True, slots=True)
class Base:
    """What makes a chain a base chain: type `filter`, `nat` or `route`, hook and priority. The policy is accept."""

    type: str
    hook: Hook
    priority: int


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain and its rules; base None: it is reached by jump, goto or a verdict map alone."""

    name: str
    rules: tuple[Rule, ...]
    base: Base | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """One table, by default the only one lbctl has: `inet lbctl`. A table that is not there is None, not empty."""

    sets: Mapping[str, Set] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)
    name: str = "lbctl"
    family: str = "inet"
