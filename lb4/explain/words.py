"""What a walk through the ruleset says as it goes: one line for each thing that decided something.

The rule: a line starts with the chain it happened in, says what was looked at and what came of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lb4.address import Endpoint, IPAddress
from lb4.nft.field import Verdict
from lb4.nft.statement import ConnectionCount, NumgenMode, Queue, RateLimit, RejectKind

UNIT = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}
SHOWN = 4


@dataclass(slots=True)
class Words:
    """The lines so far, and where the walk is."""

    lines: list[str] = field(default_factory=list)
    chain: str = ""
    reason: str = ""

    def enter(self, chain: str, reason: str) -> None:
        """The walk comes to a rule of this chain; reason is the rule's comment."""
        self.chain, self.reason = chain, reason

    def say(self, text: str) -> None:
        """A line about the rule the walk is at."""
        self.lines.append(f"{self.chain}: {text}")

    def verdict_map(self, name: str, verdict: Verdict) -> None:
        """The packet's addresses led to a chain."""
        self.say(f"{name} leads to {verdict.chain or verdict.kind}")

    def membership(self, client: IPAddress, name: str, found: bool) -> None:
        """The client was looked for in a set."""
        self.say(f"client {client} is {'' if found else 'not '}in {name}")

    def limit(self, limit: ConnectionCount | RateLimit) -> None:
        """A limit was passed."""
        if isinstance(limit, ConnectionCount):
            allowed = f"{limit.over} at a time"
        else:
            allowed = f"{limit.count} per {UNIT[limit.per]}"
        self.say(f"refuses {self.reason}, over {allowed}: taken to be within the limit")

    def reject(self, kind: RejectKind) -> None:
        """The packet was refused with an answer."""
        self.say(f"{self.reason}: refused with {kind.removeprefix('icmpx ')}")

    def drop(self) -> None:
        """The packet was dropped."""
        self.say(f"{self.reason}: dropped")

    def queue(self, queue: Queue) -> None:
        """A hook sees the packet."""
        self.say(f"the first packet of a flow goes to the hook at queue {queue.first}, if one listens there")

    def picks(self, name: str, queued: bool) -> None:
        """A hook's pick is looked up."""
        how = "the hook's pick, if it made one, is translated by" if queued else "no hook picks, so nothing comes of"
        self.say(f"{how} {name}")

    def affinity(self, client: IPAddress, name: str, kept: Endpoint | None) -> None:
        """The client's affinity was looked up."""
        self.say(f"client {client} {f'keeps {kept}' if kept else 'has no backend yet'} in {name}")

    def hashed(self, client: IPAddress, slot: int, slots: int) -> None:
        """The client's hash named a slot."""
        self.say(f"client {client} hashes to slot {slot} of {slots}")

    def drawn(self, mode: NumgenMode, slots: int) -> None:
        """A number will be drawn for the slot."""
        self.say(f"one of {slots} slots {'by turns' if mode is NumgenMode.INC else 'at random'}")

    def destination(self, target: Endpoint, to: Sequence[Endpoint]) -> None:
        """The destination is rewritten."""
        ends = [end if end.port else Endpoint(end.ip, target.port) for end in to]
        self.say(f"destination {target} becomes {_one_of(ends)}; replies come back from {target}")

    def source(self, client: Endpoint, to: Sequence[Endpoint]) -> None:
        """The source is rewritten to an address of ours."""
        self.say(f"source {client} becomes {_one_of(to)}, its port {client.port} if that is free")

    def masquerade(self, client: Endpoint) -> None:
        """The source is rewritten to the outgoing interface's address."""
        self.say(f"source {client} becomes the outgoing interface's address, its port {client.port} if that is free")

    def learns(self, name: str, timeout: int | None) -> None:
        """An affinity is learnt."""
        self.say(f"{name} remembers the client's backend for {timeout}s")


def _one_of(ends: Sequence[Endpoint]) -> str:
    texts = [str(end) for end in ends]
    if len(texts) == 1:
        return texts[0]
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return f"one of {', '.join(texts[:SHOWN])}{more}"
