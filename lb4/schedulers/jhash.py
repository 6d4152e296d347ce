"""The kernel's Jenkins hash, bit for bit, and how nft scales it: what tells beforehand where a client goes.

The rule: scaled(data, seed, modulus) is what `jhash … mod M seed S` gives in the kernel (net/netfilter/nft_hash.c).
"""

from __future__ import annotations

import sys

INITIAL = 0xDEADBEEF  # JHASH_INITVAL, linux/jhash.h
WORD = 0xFFFFFFFF


def scaled(data: bytes, seed: int, modulus: int) -> int:
    """0 … modulus-1: reciprocal_scale() (linux/kernel.h) of the hash."""
    return jhash(data, seed) * modulus >> 32


def jhash(data: bytes, seed: int) -> int:
    """jhash() of linux/jhash.h: 32 bits. Whole triples of words are read in host order, the rest little-endian."""
    a = b = c = (INITIAL + len(data) + seed) & WORD
    while len(data) > 12:
        words = [int.from_bytes(data[at : at + 4], sys.byteorder) for at in (0, 4, 8)]
        a, b, c = _mix((a + words[0]) & WORD, (b + words[1]) & WORD, (c + words[2]) & WORD)
        data = data[12:]
    if not data:
        return c
    rest = data.ljust(12, b"\0")
    last = [int.from_bytes(rest[at : at + 4], "little") for at in (0, 4, 8)]
    return _final((a + last[0]) & WORD, (b + last[1]) & WORD, (c + last[2]) & WORD)


def _rotated(word: int, by: int) -> int:
    return (word << by | word >> (32 - by)) & WORD


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    """__jhash_mix of linux/jhash.h."""
    for by in (4, 6, 8, 16, 19, 4):
        a = (a - c & WORD) ^ _rotated(c, by)
        c = c + b & WORD
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    """__jhash_final of linux/jhash.h."""
    for by in (14, 11, 25, 16, 4, 14, 24):
        c = (c ^ b) - _rotated(b, by) & WORD
        a, b, c = b, c, a
    return b
