"""Netlink attributes back to a rule's expressions.

The rule: what encode_expression writes comes back equal, with what the kernel adds on its own left out; what is none
of ours comes back as Unknown, and so differs from everything lbctl wants.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from lb4.netlink.attributes import number, parse, text_of
from lb4.nft import expression as low
from lb4.nft.encode_expression import CODES
from lb4.nft.expression import Expression
from lb4.nft.field import Verdict
from lb4.nft.lowered_set import VERDICT

KINDS = {code: kind for kind, code in CODES.items()}
OF_THE_KERNEL = 0x3
"""NF_NAT_RANGE_MAP_IPS and _PROTO_SPECIFIED, which the kernel sets by itself."""

Attributes = dict[int, bytes]


def word(payload: bytes) -> int:
    """The 32-bit word that a register attribute names."""
    register = number(payload)
    if register == 0:
        return VERDICT
    return (register - 1) * 4 if register < 8 else register - 8


def data_of(payload: bytes) -> bytes | Verdict:
    """A data attribute's bytes or verdict."""
    inner = parse(payload)
    if 1 in inner:
        return inner[1]
    told = parse(inner[2])
    return Verdict(KINDS[number(told[1])], text_of(told[2]) if 2 in told else "")


def bytes_of(payload: bytes) -> bytes:
    """A data attribute's bytes."""
    return parse(payload)[1]


@lru_cache(maxsize=1 << 16)
def decode_expression(payload: bytes) -> Expression:
    """One element of a rule's list; a Lookup tells the set by the name that the kernel gave it."""
    attributes = parse(payload)
    name, data = text_of(attributes[1]), attributes.get(2, b"")
    decoder = DECODERS.get(name)
    if decoder is None:
        return low.Unknown(name, data)
    try:
        return decoder(parse(data))
    except KeyError:
        return low.Unknown(name, data)


def _meta(a: Attributes) -> Expression:
    return low.MetaSet(number(a[2]), word(a[3])) if 3 in a else low.Meta(number(a[2]), word(a[1]))


def _payload(a: Attributes) -> Expression:
    return low.Payload(number(a[2]), number(a[3]), number(a[4]), word(a[1]))


def _ct(a: Attributes) -> Expression:
    return low.Ct(number(a[2]), word(a[1]), a[3][0] if 3 in a else None)


def _bitwise(a: Attributes) -> Expression:
    return low.Bitwise(word(a[1]), word(a[2]), bytes_of(a[4]), bytes_of(a[5]))


def _lookup(a: Attributes) -> Expression:
    inverted = bool(number(a.get(5, b"")) & 1)
    return low.Lookup(word(a[2]), text_of(a[1]), word(a[3]) if 3 in a else None, inverted)


def _hash(a: Attributes) -> Expression:
    seed, offset = number(a.get(5, b"")), number(a.get(6, b""))
    return low.Hash(word(a[1]), number(a[3]), word(a[2]), number(a[4]), seed, offset)


def _immediate(a: Attributes) -> Expression:
    data = data_of(a[2])
    return low.Give(data) if isinstance(data, Verdict) else low.Immediate(word(a[1]), data)


def _nat(a: Attributes) -> Expression:
    flags = number(a.get(7, b"")) & ~OF_THE_KERNEL
    address, port = (word(a[kind]) if kind in a else None for kind in (3, 5))
    return low.Nat(number(a[1]), number(a[2]), address, port, flags)


def _limit(a: Attributes) -> low.Limit:
    return low.Limit(number(a[1]), number(a[2]), number(a.get(3, b"")), bool(number(a.get(5, b"")) & 1))


def _connlimit(a: Attributes) -> low.Connlimit:
    return low.Connlimit(number(a[1]), bool(number(a.get(2, b"")) & 1))


def _dynset(a: Attributes) -> Expression:
    inner = a.get(7)
    expression = None if inner is None else decode_expression(inner)
    if not isinstance(expression, low.Limit | low.Connlimit | low.Count | None):
        raise KeyError("an expression that lbctl puts into no set")
    data, timeout = word(a[5]) if 5 in a else None, number(a.get(6, b""))
    return low.Dynset(text_of(a[1]), number(a[3]), word(a[4]), data, timeout, expression)


DECODERS: dict[str, Callable[[Attributes], Expression]] = {
    "meta": _meta,
    "payload": _payload,
    "ct": _ct,
    "fib": lambda a: low.Fib(number(a[3]), number(a[2]), word(a[1])),
    "cmp": lambda a: low.Cmp(word(a[1]), number(a[2]), bytes_of(a[3])),
    "bitwise": _bitwise,
    "byteorder": lambda a: low.Byteorder(word(a[1]), word(a[2]), number(a[3]), number(a[4]), number(a[5])),
    "lookup": _lookup,
    "numgen": lambda a: low.Number(word(a[1]), number(a[3]), number(a[2]), number(a.get(4, b""))),
    "hash": _hash,
    "immediate": _immediate,
    "nat": _nat,
    "masq": lambda a: low.Masq(number(a.get(1, b""))),
    "reject": lambda a: low.Refuse(number(a[1]), number(a.get(2, b""))),
    "counter": lambda a: low.Count(),
    "limit": _limit,
    "connlimit": _connlimit,
    "dynset": _dynset,
    "queue": lambda a: low.QueueTo(number(a[1]), number(a[2]), number(a.get(3, b""))),
    "notrack": lambda a: low.Untrack(),
    "target": lambda a: low.Target(text_of(a[1]), number(a[2]), a[3]),
}
