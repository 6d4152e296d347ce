"""A table while it is being made: elements come in any order, and the finished table has them sorted.

The rule: a shared set exists only where an element needs it, one kind for single ports and one for ranges.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from lb4.address import Bind, Endpoint, Family
from lb4.compile.names import PROTOCOL_NUMBER, shared_set, slots_name, slots_set
from lb4.compile.slot_map import SlotMap
from lb4.model import Protocol
from lb4.nft.field import Value, Verdict
from lb4.nft.ruleset import Chain, Element, Set, Table

SharedKey = tuple[str, Family, bool]
"""A shared set: its kind, its family, and whether its elements are ranges of ports."""


@dataclass(slots=True)
class Draft:
    """What was added so far. shared: by set, by the ends of its key, the verdict or None.

    slots: by map, the slots of its listeners.
    """

    sets: dict[str, Set] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    shared: dict[SharedKey, dict[tuple[Value, Value | None], Verdict | None]] = field(default_factory=dict)
    slots: dict[str, SlotMap] = field(default_factory=dict)

    def add_bind(self, kind: str, bind: Bind, protocol: Protocol, verdict: Verdict | None = None) -> None:
        """An element that stands for all ports of a bind."""
        ip, number = bind.ip.packed, PROTOCOL_NUMBER[protocol]
        low: Value = (ip, number, bind.first.to_bytes(2, "big"))
        high: Value | None = (ip, number, bind.last.to_bytes(2, "big")) if bind.is_range else None
        self._elements(kind, bind)[low, high] = verdict

    def add_backend(self, bind: Bind, protocol: Protocol, backend: Endpoint) -> None:
        """An element that stands for what a backend answers from."""
        ports = Bind(backend.ip, backend.port or bind.first, backend.port or bind.last)
        self.add_bind("backend", ports, protocol)

    def add_pair(self, kinds: Iterable[str], bind: Bind, protocol: Protocol, backend: Endpoint) -> None:
        """Elements that stand for a bind's flows to one backend, a backend without a port having the client's."""
        ip, number, target = bind.ip.packed, PROTOCOL_NUMBER[protocol], backend.ip.packed
        first, last = (port.to_bytes(2, "big") for port in (bind.first, bind.last))
        port = None if backend.port is None else backend.port.to_bytes(2, "big")
        low: Value = (ip, number, first, target, port or first)
        high: Value | None = (ip, number, last, target, port or last) if bind.is_range else None
        for kind in kinds:
            self._elements(kind, bind)[low, high] = None

    def add_slots(self, label: str, family: Family, with_port: bool, values: Sequence[Value]) -> tuple[str, int]:
        """Elements for an entrance's slots. Returns the map's name and the number of the first."""
        name = slots_name(label, family, with_port)
        if name not in self.slots:
            self.slots[name] = SlotMap()
            self.sets[name] = slots_set(name, family, with_port)
        return name, self.slots[name].add(label, values)

    def has(self, kind: str, family: Family, ranges: bool = False) -> bool:
        """Whether a shared set has any element."""
        return (kind, family, ranges) in self.shared

    def table(self, base_chains: Iterable[Chain]) -> Table:
        """The finished table: base chains first, then the others by name."""
        shared = (self._finished(key) for key in sorted(self.shared))
        slots = {name: replace(self.sets[name], elements=each.finished()) for name, each in self.slots.items()}
        sets = {each.name: each for each in shared} | dict(sorted((self.sets | slots).items()))
        return Table(sets, {chain.name: chain for chain in base_chains} | dict(sorted(self.chains.items())))

    def _elements(self, kind: str, bind: Bind) -> dict[tuple[Value, Value | None], Verdict | None]:
        key = (kind, bind.family, bind.is_range)
        elements = self.shared.get(key)
        if elements is None:
            elements = self.shared[key] = {}
        return elements

    def _finished(self, key: SharedKey) -> Set:
        kind, _, ranges = key
        ends = self.shared[key]
        keys = sorted(ends) if not ranges else sorted(_disjoint(ends) if kind == "backend" else ends)
        return replace(
            shared_set(*key), elements=tuple([Element(low, high, ends.get((low, high))) for low, high in keys])
        )


def _disjoint(ends: Iterable[tuple[Value, Value | None]]) -> list[tuple[Value, Value | None]]:
    """Ranges of one backend's ports joined where they overlap: the kernel refuses overlapping ones."""
    joined: list[tuple[Value, Value | None]] = []
    for low, high in sorted(ends):
        last = joined[-1] if joined else None
        if last is not None and last[1] is not None and high is not None and last[0][:2] == low[:2] and low <= last[1]:
            joined[-1] = (last[0], max(last[1], high))
        else:
            joined.append((low, high))
    return joined
