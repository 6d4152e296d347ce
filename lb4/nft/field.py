"""What rules read of a packet and its flow, and the verdicts they come to: the words that sets and statements share.

The rule: values alone, named and typed as nft has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntFlag, StrEnum


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
