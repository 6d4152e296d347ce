"""The base chains: where in a packet's way lbctl looks, and that it looks by verdict maps alone.

The rule: how many rules a packet passes does not depend on how many listeners there are. The priorities are a
contract with other tables (docs/datapath.md): filters -150, translation -100 and 100, counting 90.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lb4.address import FAMILIES, Family
from lb4.compile import marks
from lb4.compile.draft import Draft
from lb4.compile.names import arrived, arriving, from_backend, leaving, shared_name, to_backend
from lb4.nft.field import CtState, CtStatus, Field, Key, Verdict, VerdictKind
from lb4.nft.ruleset import Base, Chain, Hook, Rule
from lb4.nft.statement import Counter, HasFlag, InSet, IsOneOf, Match, MoreBytes, SetMark, Statement, VerdictMap

FILTER = -150
DNAT = -100
UNMARK = -99
TRAFFIC = 90
SNAT = 100

KeyOf = Callable[[Family], Key]

REPLY = b"\x01"
ORIGINAL = b"\x00"
TRANSLATED = HasFlag(Field.CT_STATUS, CtStatus.DNAT)
TRANSPORT = IsOneOf(Field.L4PROTO, (b"\x06", b"\x11"))
"""nft reads `ct original proto-dst` only where it knows that the protocol has ports."""


def base_chains(draft: Draft) -> Iterator[Chain]:
    """The base chains and those they share, for what the draft has sets for."""
    invalid = Rule((HasFlag(Field.CT_STATE, CtState.INVALID), Verdict(VerdictKind.GOTO, "invalid")))
    filters = [Rule((HasFlag(Field.CT_STATE, CtState.NEW), each)) for each in _lookups(draft, "filter", arriving)]
    replies = _traffic(draft, REPLY, from_backend)
    yield _base("prerouting-filter", "filter", Hook.PREROUTING, FILTER, [invalid, *replies, *filters])
    yield _base("output-filter", "filter", Hook.OUTPUT, FILTER, [invalid, *filters])
    targets = [Rule((each,)) for each in _lookups(draft, "listener", arriving)]
    # Even where no backend takes a new flow: without a nat chain the kernel stops translating the flows that live.
    translates = any(_present(draft, "connection"))
    if translates:
        yield _base("prerouting-nat", "nat", Hook.PREROUTING, DNAT, targets)
        yield _base("output-nat", "nat", Hook.OUTPUT, DNAT, targets)
    if unmark := _unmark(draft):
        yield _base("prerouting-unmark", "filter", Hook.PREROUTING, UNMARK, unmark)
        yield _base("output-unmark", "filter", Hook.OUTPUT, UNMARK, unmark)
    if traffic := _traffic(draft, ORIGINAL, to_backend):
        yield _base("postrouting-traffic", "filter", Hook.POSTROUTING, TRAFFIC, traffic)
    if translates:
        yield _base("postrouting-nat", "nat", Hook.POSTROUTING, SNAT, _sources(draft))
    yield Chain("invalid", tuple(_invalid(draft)))
    yield Chain("accounting", (Rule((MoreBytes(0),), "never called: its presence makes the kernel count bytes"),))


def _base(name: str, kind: str, hook: Hook, priority: int, rules: list[Rule]) -> Chain:
    return Chain(name, tuple(rules), Base(kind, hook, priority))


def _present(draft: Draft, kind: str) -> Iterator[tuple[Family, str]]:
    """Family and name of the shared sets of a kind that the draft has, single ports before ranges."""
    for family in FAMILIES:
        for ranges in (False, True):
            if draft.has(kind, family, ranges):
                yield family, shared_name(kind, family, ranges)


def _lookups(draft: Draft, kind: str, key: KeyOf) -> list[VerdictMap]:
    return [VerdictMap(key(family), name) for family, name in _present(draft, kind)]


def _traffic(draft: Draft, direction: bytes, key: KeyOf) -> list[Rule]:
    flow: tuple[Statement, ...] = (Match(Field.CT_DIRECTION, direction), TRANSLATED, TRANSPORT)
    return [Rule((*flow, InSet(key(family), name))) for family, name in _present(draft, "traffic")]


def _sources(draft: Draft) -> list[Rule]:
    """What counts a new flow comes before what ends the chain."""
    counts: list[Statement] = [InSet(to_backend(family), name) for family, name in _present(draft, "connection")]
    return [Rule((TRANSLATED, TRANSPORT, each)) for each in (*counts, *_lookups(draft, "source", arrived))]


def _unmark(draft: Draft) -> list[Rule]:
    clear = SetMark(marks.KEEP)
    new = HasFlag(Field.CT_STATE, CtState.NEW)
    return [
        Rule((new, TRANSLATED, TRANSPORT, InSet(arrived(family), name), clear))
        for family, name in _present(draft, "queued")
    ]


def _invalid(draft: Draft) -> Iterator[Rule]:
    """Packets that conntrack knows no flow for are not translated: a client would answer a backend's with a reset."""
    ends: tuple[tuple[str, KeyOf], ...] = (("bind", arriving), ("backend", leaving))
    for kind, key in ends:
        for family, name in _present(draft, kind):
            yield Rule((InSet(key(family), name), Counter(), Verdict(VerdictKind.DROP)))
