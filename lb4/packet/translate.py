"""The step of packet mode: one packet and the time in, what becomes of the packet out.

The rule: no I/O, and bytes of any kind never raise. The first lines of `step` are all that most packets see: a look-up
by a slice of the packet and three writes; everything rarer goes the readable way below them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from lb4.address import Endpoint
from lb4.admission import Refused
from lb4.affinity import AffinitiesOf, own_affinities
from lb4.conntrack.attribution import is_down, is_drained
from lb4.ledger import Ledger, OwnLedger
from lb4.model import AdminState, Backend, Balancer, Listener, Service
from lb4.packet.answer import answer
from lb4.packet.checksum import changed, changed_udp
from lb4.packet.decision import Choice, Decisions, Picks, SchedulerFailed
from lb4.packet.flow_table import Direction, FlowTable, LiveFlow, Owner
from lb4.packet.fragments import Fragments
from lb4.packet.icmp_error import is_error, quoted, translated
from lb4.packet.keys import destination_of, key_of, source_of, turned
from lb4.packet.parse import TCP, UDP, Header, parse
from lb4.packet.rewrite import SUM, SUM_AT, V4_SUM_AND_KEY, V4_SUMS_TCP, V4_SUMS_UDP, rewritten
from lb4.packet.setup import Setup
from lb4.packet.sources import Sources
from lb4.packet.tcp_state import OVER, State, opens
from lb4.packet.totals import Totals

Outcome = bytes | bytearray | int | None
"""The packet to go on with (the very object that came in: unchanged), the queue to hand it to, or None: dropped."""

_V6_SUM_AT = {TCP: 40 + SUM_AT[TCP], UDP: 40 + SUM_AT[UDP]}
"""Where the transport's checksum is in an IPv6 packet without extension headers."""
_OPENING_OR_CLOSING = 0x07
"""FIN, SYN or RST."""


class Translator:
    """One worker's flows and what it does with packets. Times are seconds of a monotonic clock."""

    def __init__(
        self,
        setup: Setup,
        picks: Picks,
        complain: Callable[[str], None],
        affinities: AffinitiesOf = own_affinities,
        ledgers: Callable[[str], Ledger] = lambda _: OwnLedger(),
    ) -> None:
        """picks: makes a service's scheduler. complain: told what went wrong in a user's own scheduler.

        affinities: makes the memory of which backend a client had. ledgers: makes the counts of a listener's flows.
        """
        self.setup = setup
        self.table = FlowTable(setup.flows_max, self._forgotten, self._counted)
        self._ledgers: dict[str, Ledger] = {}
        self._new_ledger = ledgers
        self.decisions = Decisions(setup.balancer, picks, affinities, self._ledger)
        self.sources = Sources(setup.own_ports, setup.seed)
        self.refused: Counter[tuple[str, Refused]] = Counter()
        self.totals = Totals()
        self.opened: Callable[[LiveFlow], None] = _nothing
        self.moved: Callable[[LiveFlow], None] = _nothing
        self.ended: Callable[[LiveFlow], None] = _nothing
        self._picks, self._affinities = picks, affinities
        self._complain = complain
        self._fragments = Fragments()
        self._tcp = self.table.directions[TCP]
        self._udp = self.table.directions[UDP]

    def step(self, data: bytes, now: float) -> Outcome:
        """What becomes of a packet that starts with its IP header."""
        if len(data) >= 40 and data[0] == 0x45 and data[9] == TCP and not (data[6] & 0x3F or data[7]):
            direction = self._tcp.get(data[12:24])
            if direction is None:
                return self._slowly(data, now)
            flow = direction.flow
            flags = data[33]
            if (flags & _OPENING_OR_CLOSING or flow.state is not State.ESTABLISHED) and self._is_over(
                direction, flags, now
            ):
                return self._slowly(data, now)
            flow.seen = now
            direction.packets += 1
            direction.bytes += len(data)
            head, tail = V4_SUMS_TCP.unpack_from(data, 10)
            head = (head ^ 0xFFFF) + direction.added_header
            tail = (tail ^ 0xFFFF) + direction.added_transport
            out = bytearray(data)
            V4_SUM_AND_KEY.pack_into(out, 10, (head + (head >> 16) & 0xFFFF) ^ 0xFFFF, direction.new)
            SUM.pack_into(out, 36, (tail + (tail >> 16) & 0xFFFF) ^ 0xFFFF)
            return out
        if len(data) >= 28 and data[0] == 0x45 and data[9] == UDP and not (data[6] & 0x3F or data[7]):
            direction = self._udp.get(data[12:24])
            if direction is None:
                return self._slowly(data, now)
            flow = direction.flow
            if direction.from_backend:
                flow.state = State.UDP_REPLIED
            flow.seen = now
            direction.packets += 1
            direction.bytes += len(data)
            head, tail = V4_SUMS_UDP.unpack_from(data, 10)
            head = (head ^ 0xFFFF) + direction.added_header
            out = bytearray(data)
            V4_SUM_AND_KEY.pack_into(out, 10, (head + (head >> 16) & 0xFFFF) ^ 0xFFFF, direction.new)
            if tail:
                tail = (tail ^ 0xFFFF) + direction.added_transport
                SUM.pack_into(out, 26, (tail + (tail >> 16) & 0xFFFF) ^ 0xFFFF or 0xFFFF)
            return out
        if len(data) >= 60 and data[0] & 0xF0 == 0x60 and data[6] in _V6_SUM_AT:
            return self._six(data, now)
        return self._slowly(data, now)

    def _six(self, data: bytes, now: float) -> Outcome:
        """IPv6 without extension headers, 60 bytes or more."""
        protocol = data[6]
        direction = self.table.directions[protocol].get(data[8:44])
        if direction is None:
            return self._slowly(data, now)
        flow = direction.flow
        if protocol == TCP:
            flags = data[53]
            quiet = not flags & _OPENING_OR_CLOSING and flow.state is State.ESTABLISHED
            if not quiet and self._is_over(direction, flags, now):
                return self._slowly(data, now)
        elif direction.from_backend:
            flow.state = State.UDP_REPLIED
        flow.seen = now
        direction.packets += 1
        direction.bytes += len(data)
        at = _V6_SUM_AT[protocol]
        (total,) = SUM.unpack_from(data, at)
        out = bytearray(data)
        out[8:44] = direction.new
        change = changed if protocol == TCP else changed_udp
        SUM.pack_into(out, at, change(total, direction.added_transport))
        return out

    def _is_over(self, direction: Direction, flags: int, now: float) -> bool:
        """Moves the flow's state; True where the segment opens another connection, and this one was ended for it."""
        flow = direction.flow
        if flow.state in OVER and opens(flags) and not direction.from_backend:
            self.table.end(flow)
            return True
        before = flow.state
        if self.table.track(direction, flags, now) is not before:
            self.moved(flow)
        return False

    # ---- what is rarer: new flows, options, extension headers, IPv6, fragments, errors

    def _slowly(self, data: bytes, now: float) -> Outcome:
        header = parse(data)
        if header is None:
            return self._drop(Refused.MALFORMED)
        if header.offset:
            return self._later_fragment(data, header, now)
        if header.protocol in (TCP, UDP):
            return self._transport(data, header, now)
        return self._error(data, header) if is_error(data, header) else data

    def _transport(self, data: bytes, header: Header, now: float) -> Outcome:
        flags = data[header.transport + 13] if header.protocol == TCP else 0
        direction = self.table.directions[header.protocol].get(header.key)
        if direction is not None and header.protocol == TCP and self._is_over(direction, flags, now):
            direction = None
        if direction is None:
            opened = self._open(data, header, flags, now)
            if not isinstance(opened, Direction):
                return opened
            direction = opened
        if header.protocol == UDP and direction.from_backend:
            direction.flow.state = State.UDP_REPLIED
        direction.flow.seen = now
        direction.packets += 1
        direction.bytes += len(data)
        if header.fragment is not None:
            self._fragments.remember(header.fragment, direction, now)
        return rewritten(data, header, direction)

    def _later_fragment(self, data: bytes, header: Header, now: float) -> Outcome:
        translation = self._fragments.recall(header.fragment, now) if header.fragment is not None else None
        if translation is None:
            return self._drop(Refused.FRAGMENT)
        return rewritten(data, header, translation)

    def _error(self, data: bytes, header: Header) -> Outcome:
        """An error goes against the direction of the packet it quotes."""
        quote = quoted(data, header)
        direction = None
        if quote is not None:
            direction = self.table.directions[quote.header.protocol].get(turned(quote.header.key))
        if quote is None or direction is None:
            last = self.setup.worker + 1 == self.setup.workers
            return data if last else self.setup.queue + 1
        return translated(data, header, quote, direction)

    def _open(self, data: bytes, header: Header, flags: int, now: float) -> Direction | Outcome:
        target = destination_of(header.key)
        listener = self.decisions.listener_of(header.protocol, target)
        if listener is None:
            return self._stray(data, header, target)
        if header.protocol == TCP and not opens(flags):
            return self._refuse(listener.name, Refused.NO_FLOW, data, header)
        client = source_of(header.key)
        choice = self._chosen(listener, client, target, now)
        if isinstance(choice, Refused):
            return self._refuse(listener.name, choice, data, header)
        return self._flow(header, choice, data, now)

    def _chosen(self, listener: Listener, client: Endpoint, target: Endpoint, now: float) -> Choice | Refused:
        if self.table.full:
            return Refused.TABLE_FULL
        try:
            return self.decisions.choose(listener, client, target, self.table.active, now)
        except SchedulerFailed as error:
            self._complain(str(error))
            return Refused.SCHEDULER

    def _flow(self, header: Header, choice: Choice, data: bytes, now: float) -> Direction | Outcome:
        listener, to = choice.listener, choice.to
        taken = self.sources.take(header.protocol, self.setup.sources(listener, to.ip), to)
        if taken is None:
            return self._refuse(listener.name, Refused.NO_PORT, data, header)
        keys = header.key, key_of(Endpoint(*taken), to)
        if turned(keys[1]) in self.table.directions[header.protocol]:
            self.sources.give_back(header.protocol, Endpoint(*taken), to)
            return self._refuse(listener.name, Refused.NO_PORT, data, header)
        owner = Owner(listener.name, listener.service, choice.backend.endpoint)
        flow = self.table.open(header.protocol, keys, owner, now)
        self.totals.opened(owner)
        self.opened(flow)
        return flow.out

    def _stray(self, data: bytes, header: Header, target: Endpoint) -> Outcome:
        """A packet to no listener: a reply to a flow that is gone goes no further, anything else is not ours."""
        ports = self.setup.ports
        if ports.first <= (target.port or 0) <= ports.last:
            return self._drop(Refused.NO_FLOW)
        return data

    def _refuse(self, listener: str, why: Refused, data: bytes, header: Header) -> Outcome:
        self.refused[listener, why] += 1
        if why in (Refused.DENIED, Refused.SCHEDULER):
            return None
        return answer(data, header)

    def _drop(self, why: Refused) -> Outcome:
        self.refused["", why] += 1
        return None

    # ---- what happens besides packets

    def adopt(self, protocol: int, keys: tuple[bytes, bytes], state: State, now: float) -> LiveFlow | None:
        """Takes over a flow that another process had, None where the configuration or the ports do not allow it.

        keys: as the client sends and as the backend gets it.
        """
        asked, given = keys
        listener = self.decisions.listener_of(protocol, destination_of(asked))
        source, to = source_of(given), destination_of(given)
        if listener is None or asked in self.table.directions[protocol] or self.table.full:
            return None
        backends = self.setup.balancer.services[listener.service].backends
        ours = (to, Endpoint(to.ip))
        backend = next((b.endpoint for b in backends if b.endpoint in ours), None)
        if backend is None or not self.sources.claim(protocol, source, to):
            return None
        flow = self.table.open(protocol, keys, Owner(listener.name, listener.service, backend), now)
        self.table.set_state(flow, state)
        return flow

    def reconfigure(self, setup: Setup) -> int:
        """Goes on with another configuration; flows whose listener or backend is gone end. How many did."""
        before, was = self.decisions, self.setup.balancer
        self.setup = setup
        self.table.limit = setup.flows_max
        self.decisions = Decisions(setup.balancer, self._picks, self._affinities, self._ledger)
        self.decisions.inherit(before)
        gone = [flow for flow in self.table if not self._still_wanted(flow, was)]
        for flow in gone:
            self.table.end(flow)
        return len(gone)

    def _still_wanted(self, flow: LiveFlow, was: Balancer) -> bool:
        """As lb4.conntrack.attribution.is_stale for the flows of the kernel modes."""
        listener = self.decisions.listener_of(flow.protocol, destination_of(flow.out.key))
        if listener is None or (listener.name, listener.service) != (flow.listener, flow.service):
            return False
        service = self.setup.balancer.services[flow.service]
        backend = _backend(service, flow)
        if backend is not None:
            moves = flow.protocol == UDP and is_down(service, backend)
            return backend.admin is not AdminState.DISABLED and not moves
        before = _backend(was.services[flow.service], flow) if flow.service in was.services else None
        return flow.protocol == TCP and (before is None or is_drained(before))

    def _forgotten(self, flow: LiveFlow) -> None:
        given = flow.out.new
        self.sources.give_back(flow.protocol, source_of(given), destination_of(given))
        self.totals.ended(flow)
        self.ended(flow)

    def _counted(self, flow: LiveFlow, change: int) -> None:
        """A connection that is over counts against no limit, though its flow is kept for late segments."""
        self._ledger(flow.listener).add(source_of(flow.out.key).ip, change)

    def _ledger(self, listener: str) -> Ledger:
        """The counts of a listener's flows, which go on whatever becomes of its configuration."""
        if listener not in self._ledgers:
            self._ledgers[listener] = self._new_ledger(listener)
        return self._ledgers[listener]


def _nothing(flow: LiveFlow) -> None:
    """Nobody wants to know."""


def _backend(service: Service, flow: LiveFlow) -> Backend | None:
    return next((b for b in service.backends if b.endpoint == flow.backend), None)
