"""Sets and maps as the kernel has them: bytes that lead to bytes or verdicts.

The rule: key and data are as they lie in registers, every field of a concatenation padded to four bytes; what an
element has counted is no part of equality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from lb4.nft.field import Verdict

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
