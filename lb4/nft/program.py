"""The ruleset as the kernel has it: rules are programs of register expressions, sets hold bytes.

The rule: two equal values are the same to the kernel. Handles, and what counters and limits have seen, are no part
of equality. Registers are the sixteen 32-bit words of nf_tables, 0 to 15; key and data are as they lie in them,
every field of a concatenation padded to four bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from lb4.nft.ruleset import Base, Verdict

VERDICT = -1
"""The register a verdict map writes to, and the data type of verdict maps."""

ANONYMOUS = 0x1
CONSTANT = 0x2
INTERVAL = 0x4
MAP = 0x8
TIMEOUT = 0x10
EVAL = 0x20
CONCAT = 0x80
EXPRESSION = 0x100

Data = bytes | Verdict | None
"""What an element's key leads to: a map's data, a verdict map's verdict, nothing in a set."""


@dataclass(frozen=True, slots=True)
class SetType:
    """What a set is, apart from its name and elements.

    key_type and data_type: nft's type numbers, which it keeps for listing. fields: the lengths in bytes of a
    concatenation's fields where the kernel needs them (intervals), else empty. flags: NFT_SET_*. timeout in
    milliseconds, size in elements, 0 for none. expressions: names of what each element carries (`counter`).
    """

    key_type: int
    key_length: int
    flags: int = 0
    fields: tuple[int, ...] = ()
    data_type: int = 0
    data_length: int = 0
    timeout: int = 0
    size: int = 0
    expressions: tuple[str, ...] = ()

    @property
    def is_interval(self) -> bool:
        """Whether a key is a low and a high bound, one after the other, both included."""
        return bool(self.flags & INTERVAL)

    @property
    def is_dynamic(self) -> bool:
        """Whether packets add its elements, which then are no part of the value."""
        return bool(self.flags & EVAL)


@dataclass(frozen=True, slots=True)
class LoweredSet:
    """A named set or map: elements by key; in an interval set the key is the low bound followed by the high one."""

    name: str
    type: SetType
    elements: Mapping[bytes, Data] = field(default_factory=dict)
    userdata: bytes = field(default=b"", compare=False)


@dataclass(frozen=True, slots=True)
class AnonymousSet:
    """A set inside a rule. The kernel lets nobody change it once it is bound, so a digest kept with it stands for it.

    elements is empty in a value read from the kernel where the digest was found there.
    """

    type: SetType
    digest: bytes
    elements: Mapping[bytes, Data] = field(default_factory=dict, compare=False, hash=False, repr=False)
    userdata: bytes = field(default=b"", compare=False)


def digest_of(elements: Mapping[bytes, Data]) -> bytes:
    """Sixteen bytes that stand for an anonymous set's elements, whatever order they come in."""
    told = blake2b(digest_size=16)
    for key in sorted(elements):
        data = elements[key]
        told.update(key)
        told.update(data if isinstance(data, bytes) else repr(data).encode())
    return told.digest()


# ---- expressions, named as in linux/netfilter/nf_tables.h


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


@dataclass(frozen=True, slots=True)
class LoweredRule:
    """A program and its comment; the handle is the kernel's name for it, 0 before it has one."""

    program: tuple[Expression, ...]
    comment: str = ""
    handle: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class LoweredChain:
    """A chain's rules in order; base None: no hook. policy: the verdict at a base chain's end, lbctl's is accept."""

    name: str
    rules: tuple[LoweredRule, ...] = ()
    base: Base | None = None
    policy: str = "accept"


@dataclass(frozen=True, slots=True)
class LoweredTable:
    """A whole table. Anonymous sets are in the rules that have them, not in sets. flags: NFT_TABLE_F_*."""

    sets: Mapping[str, LoweredSet] = field(default_factory=dict)
    chains: Mapping[str, LoweredChain] = field(default_factory=dict)
    name: str = "lbctl"
    family: str = "inet"
    flags: int = 0
