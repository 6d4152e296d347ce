"""The real kernel: nf_tables of the network namespace this process is in.

The rule: one socket, one transaction at a time; what is read is read again where somebody wrote meanwhile, and what is
written is refused by the kernel itself where somebody wrote since (the batch carries the generation).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from lb4.kernel.interface import Count, FeatureMissing, GenerationMoved, KernelError, LiveElement, Snapshot
from lb4.netlink.attributes import attribute, nested, number, parse, string
from lb4.netlink.socket import (
    NLM_F_ACK,
    DumpInterrupted,
    NetlinkError,
    NetlinkSocket,
    error_of,
    generic,
    message,
)
from lb4.nft import message as m
from lb4.nft import types
from lb4.nft.decode import decode_table, rule_counters
from lb4.nft.decode_set import DumpedElement, DumpedSet, by_key, decode_data, decode_elements, decode_set
from lb4.nft.diff import Transaction
from lb4.nft.encode import Encoded, encode
from lb4.nft.encode_expression import value
from lb4.nft.features import FEATURES, missing_in, probe, target_in
from lb4.nft.field import Value
from lb4.nft.lowered_set import Data
from lb4.nft.naming import name_of
from lb4.nft.program import LoweredTable

KIND = m.SUBSYSTEM << 8
FAMILY = m.NFPROTO["inet"]
READ_TRIES = 20
ERESTART = 85


class RealKernel:
    """Implements interface.Kernel. The socket is opened when it is first needed, in the namespace of that moment."""

    def __init__(self, table: str = "lbctl") -> None:
        """table: the name of the only table that is read or written."""
        self._table = table
        self._opened: NetlinkSocket | None = None
        self._remembered: Snapshot | None = None

    @property
    def _socket(self) -> NetlinkSocket:
        if self._opened is None:
            self._opened = NetlinkSocket()
        return self._opened

    def __enter__(self) -> RealKernel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def ports(self) -> frozenset[int]:
        """The netlink port of the socket, once it is open: the kernel's events of our own changes bear it."""
        return frozenset() if self._opened is None else frozenset({self._opened.port})

    def close(self) -> None:
        """Gives the socket back."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    # ---- reading

    def read(self) -> Snapshot:
        """The table as it stands, from one generation. Raises KernelError.

        What was read is given again until the generation moves, as it does with every transaction of anybody
        (nf_tables_api.c: nf_tables_commit).
        """
        return _undisturbed("the ruleset", self._of_one_generation)

    def _of_one_generation(self) -> Snapshot:
        before = self._generation()
        if self._remembered is not None and self._remembered.generation == before:
            return self._remembered
        table = self._read()
        if self._generation() != before:
            raise DumpInterrupted
        self._remembered = Snapshot(before, table)
        return self._remembered

    def _read(self) -> LoweredTable | None:
        flags = self._flags()
        if flags is None:
            return None
        sets = [decode_set(body) for body in self._dump(m.GETSET, m.SET_TABLE)]
        chains, rules = self._dump(m.GETCHAIN, m.CHAIN_TABLE), self._dump(m.GETRULE, m.RULE_TABLE)
        return decode_table(self._table, flags, chains, rules, sets, self._elements_of)

    def _flags(self) -> int | None:
        """The table's flags, None where there is no table."""
        try:
            (body,) = self._request(m.GETTABLE, string(m.TABLE_NAME, self._table))
        except _Gone:
            return None
        return number(parse(body, 4).get(m.TABLE_FLAGS, b""))

    def _generation(self) -> int:
        (body,) = self._request(m.GETGEN, b"")
        return number(parse(body, 4)[1])

    def _request(self, kind: int, body: bytes) -> list[bytes]:
        try:
            return self._socket.request(KIND | kind, generic(FAMILY) + body)
        except NetlinkError as error:
            raise _unreadable(error) from error

    def _dump(self, kind: int, table_attribute: int, more: bytes = b"") -> list[bytes]:
        try:
            return self._socket.dump(KIND | kind, generic(FAMILY) + string(table_attribute, self._table) + more)
        except NetlinkError as error:
            raise _unreadable(error) from error

    def _elements_of(self, each: DumpedSet) -> dict[bytes, Data]:
        return decode_data(each.type, self._dumped(each))

    def _dumped_elements(self, each: DumpedSet) -> dict[bytes, DumpedElement]:
        return by_key(each.type, decode_elements(self._dumped(each)))

    def _dumped(self, each: DumpedSet) -> list[bytes]:
        return self._dump(m.GETSETELEM, m.ELEMENTS_TABLE, string(m.ELEMENTS_SET, each.name))

    def elements(self, set_name: str) -> tuple[LiveElement, ...]:
        """A set's elements with their counts; empty where there is no such set."""
        return _undisturbed(f"set {set_name}", lambda: self._live_elements(set_name))

    def _live_elements(self, set_name: str) -> tuple[LiveElement, ...]:
        found = self._set_of(set_name)
        if found is None:
            return ()
        return tuple(_live(found, key, each) for key, each in self._dumped_elements(found).items())

    def _set_of(self, name: str) -> DumpedSet | None:
        try:
            (body,) = self._request(m.GETSET, string(m.SET_TABLE, self._table) + string(m.SET_NAME, name))
        except _Gone:
            return None
        return decode_set(body)

    def rule_counts(self) -> dict[str, tuple[Count, ...]]:
        """By chain, what each rule's counter saw, in the order of the rules."""
        counts: dict[str, list[Count]] = {}
        for body in _undisturbed("the rules", self._rules):
            chain, (packets, amount) = rule_counters(body)
            counts.setdefault(chain, []).append(Count(packets, amount))
        return {chain: tuple(each) for chain, each in counts.items()}

    def _rules(self) -> list[bytes]:
        return [] if self._flags() is None else self._dump(m.GETRULE, m.RULE_TABLE)

    # ---- writing

    def commit(self, transaction: Transaction, generation: int) -> None:
        """Makes all of the change or nothing. Raises GenerationMoved, FeatureMissing or KernelError."""
        messages = list(encode(transaction, generation))
        if not messages:
            return
        refused = self._send(messages, generation)
        if refused is None:
            return
        error, place = refused
        if error.errno == ERESTART:
            raise GenerationMoved("somebody else changed the ruleset since it was read")
        if place is None:
            raise _unreadable(error)
        self._refuse(transaction, place, error)

    def _refuse(self, transaction: Transaction, place: int, error: NetlinkError) -> None:
        change = transaction.changes[place]
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
            missing = missing_in(change, self.features()) or target_in(change)
            if missing:
                raise FeatureMissing(f"{name_of(change)}: this kernel lacks {missing}")
        raise KernelError(f"{name_of(change)}: the kernel says {error.strerror!r}; nothing was changed")

    def _send(
        self, messages: list[Encoded], generation: int | None, finished: bool = True
    ) -> tuple[NetlinkError, int | None] | None:
        """Sends a batch. Returns the first error and the place of its change, None where there was none."""
        sock = self._socket
        genid = b"" if generation is None else attribute(m.BATCH_GENID, generation.to_bytes(4, "big"))
        begin = sock.next_sequence()
        head = generic(0, m.SUBSYSTEM)
        parts = [message(m.BATCH_BEGIN, NLM_F_ACK, head + genid, begin)]
        family = generic(FAMILY)
        places: dict[int, int] = {}
        for each in messages:
            sequence = sock.next_sequence()
            places[sequence] = each.change
            parts.append(message(KIND | each.kind, each.flags, family + each.body, sequence))
        if finished:
            parts.append(message(m.BATCH_END, 0, head, sock.next_sequence()))
        sock.send(b"".join(parts))
        # All of them are taken: those left behind would leave no room for the answer to the next request.
        refused = [error for error in map(error_of, sock.answers()) if error is not None and error.sequence >= begin]
        return (refused[0], places.get(refused[0].sequence)) if refused else None

    def delete_elements(self, set_name: str, keys: Iterable[Value]) -> None:
        """Removes elements of a dynamic set; one that is gone already is no error."""
        head = string(m.ELEMENTS_TABLE, self._table) + string(m.ELEMENTS_SET, set_name)
        for key in keys:
            element = nested(m.LIST_ELEMENT, value(m.ELEMENT_KEY, types.pack(key)))
            refused = self._send([Encoded(m.DELSETELEM, 0, head + nested(m.ELEMENTS_LIST, element), 0)], None)
            if refused is not None and refused[0].errno != errno.ENOENT:
                raise KernelError(f"element of set {set_name}: the kernel says {refused[0].strerror!r}")

    def features(self) -> frozenset[str]:
        """The optional expressions this kernel has, each tried in a batch that is never finished."""
        return frozenset(_present(self._tried()))

    def _tried(self) -> Iterator[tuple[str, NetlinkError | None]]:
        for feature in FEATURES:
            refused = self._send(list(probe(feature)), None, finished=False)
            yield feature, refused[0] if refused else None


def _present(tried: Iterable[tuple[str, NetlinkError | None]]) -> Iterator[str]:
    """ENOENT: the kernel has no such expression. Anything else is about the arguments that the probe left out."""
    for feature, error in tried:
        if error is not None and error.errno == errno.EPERM:
            raise _unreadable(error)
        if error is None or error.errno != errno.ENOENT:
            yield feature


class _Gone(KernelError):
    """What was asked for is not there (any more)."""


Read = TypeVar("Read")


def _undisturbed(what: str, read: Callable[[], Read]) -> Read:
    """What is read once nobody changes it meanwhile: what one request told of may be gone at the next."""
    for _ in range(READ_TRIES):
        try:
            return read()
        except (DumpInterrupted, _Gone):
            continue
    raise KernelError(f"{what} changed {READ_TRIES} times while it was read; try again when it is quiet")


def _unreadable(error: NetlinkError) -> KernelError:
    if error.errno == errno.ENOENT:
        return _Gone(f"nf_tables: the kernel says {error.strerror!r}")
    if error.errno == errno.EPERM:
        return KernelError("nf_tables takes root (CAP_NET_ADMIN): run it with sudo")
    return KernelError(f"nf_tables: the kernel says {error.strerror!r}")


def _live(found: DumpedSet, key: bytes, each: DumpedElement) -> LiveElement:
    kind = found.type
    low = types.unpack(key[: kind.key_length], kind.key_type)
    high = types.unpack(key[kind.key_length :], kind.key_type) if kind.is_interval else None
    data = types.unpack(each.data, kind.data_type) if isinstance(each.data, bytes) else None
    packets, amount = each.counter or (0, 0)
    expires = None if each.expires is None else each.expires / 1000
    return LiveElement(low, high, data, Count(packets, amount), expires)
