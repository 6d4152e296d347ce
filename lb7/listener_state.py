"""What a worker knows of a listener while it serves: its plan, its connections and its counts.

The rule: a connection belongs to the state, which lives as long as the listener; the plan is replaced whole by a new
configuration, and every request takes the plan that is there when its head has come.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING

from lb4.address import IPAddress
from lb4.admission import Admission
from lb4.admission import Refused as Denial
from lb4.ledger import Ledger
from lb4.model import IPNetwork
from lb7.access_log import AccessLogFile, Format, Unread
from lb7.auth.gate import Gates
from lb7.auth.verdict import ConnectionInfo
from lb7.exchange.deadlines import Deadlines
from lb7.exchange.forwarding import is_trusted, own_text, real_client
from lb7.exchange.handler import AuthRefused, Handler
from lb7.exchange.outbox import Outbox
from lb7.measures import Cells, Measures, bucket_of
from lb7.model import Forward, HttpLimits, HttpListener
from lb7.refusal import BAD_REQUEST, METHOD_REFUSED, Refused, phrase
from lb7.routes.path import TargetError, normalised_target
from lb7.routes.table import RouteTable
from lb7.tls.contexts import client_certificate

if TYPE_CHECKING:
    from lb7.exchange.exchange import Exchange
    from lb7.exchange.outbound import Outbound
    from lb7.http1.client_side import ClientConnection

Decision = tuple[str, str, str, Handler]
"""Method, host and target of a request, and its handler."""
REMEMBERED_DECISIONS = 1024
REMEMBERED_LENGTH = 512
NOBODY = ("", "")
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"


class ListenerPlan:
    """One listener's configuration, made ready."""

    def __init__(
        self,
        model: HttpListener,
        table: RouteTable,
        handlers: Mapping[int, Handler],
        gates: Gates,
        log: tuple[AccessLogFile, Format] | None,
        connections: Waiting,
    ) -> None:
        """handlers: by the routes' numbers, 0 is the unmatched one."""
        self.model = model
        self.limits: HttpLimits = model.limits
        self.trusted: Sequence[IPNetwork] = model.trusted_proxies
        self.table = table
        self.handlers = handlers
        self.gates = gates
        self.unmatched = handlers[0]
        self.log = log
        self._decided: dict[tuple[bytes, bytes, bytes], Decision] = {}
        self._by_target_alone = not any(route.match.headers or route.match.query for route in model.routes)
        self.heads = connections.heads
        self.idles = connections.idles
        self.lingers = connections.lingers
        self.continues = connections.continues

    def handler_of(self, exchange: Exchange) -> Handler:
        """The handler of the request; sets what the exchange knows of it as text. Raises Refused."""
        head, client = exchange.head, exchange.client
        exchange.client_address = client.info.client
        if client.trusted:
            exchange.client_address = real_client(client.info.client, head.section, self.trusted)
        key = head.method, head.target, head.host
        known = self._decided.get(key)
        if known is None:
            known = self._decide(exchange, key)
        exchange.method, exchange.host, exchange.target, handler = known
        return handler

    def _decide(self, exchange: Exchange, key: tuple[bytes, bytes, bytes]) -> Decision:
        """Which handler, and the key as text, the target in its one spelling; remembered where nothing else counts."""
        method, target, host = exchange.method, exchange.target, exchange.host = [t.decode("latin-1") for t in key]
        connects = method == "CONNECT"
        try:
            # CONNECT's target is a host alone (RFC 9112 section 3.2.3); routes see it with the path of the root.
            target = "/" if connects else normalised_target(target)
        except TargetError as error:
            raise Refused(400, BAD_REQUEST, str(error)) from None
        route = self.table.match(method, host, target, exchange.head.section.headers)
        if connects and isinstance(route.action, Forward) and not route.connect:
            raise Refused(405, METHOD_REFUSED, "CONNECT is not allowed here")
        decision = method, host, target, self.handlers[route.number]
        if self._by_target_alone and len(key[1]) <= REMEMBERED_LENGTH:
            if len(self._decided) >= REMEMBERED_DECISIONS:
                self._decided.clear()
            self._decided[key] = decision
        return decision

    def refusal(self, refusal: Refused) -> tuple[int, bytes, bytes, bytes]:
        """The answer to a refused request: status, phrase, lines, body."""
        status, text = refusal.status, phrase(refusal.status)
        if isinstance(refusal, AuthRefused):
            return status, text, b"".join([b"%b: %b\r\n" % header for header in refusal.headers]), refusal.body
        return status, text, TEXT, b"%d %b: %b\n" % (status, text, refusal.reason.encode())


class Waiting:
    """The deadlines of a listener's connections."""

    def __init__(
        self,
        heads: Deadlines[ClientConnection],
        idles: Deadlines[ClientConnection],
        lingers: Deadlines[ClientConnection],
        continues: Deadlines[Outbound],
    ) -> None:
        self.heads = heads
        self.idles = idles
        self.lingers = lingers
        self.continues = continues


class ListenerState:
    """One listener, as this worker sees it."""

    def __init__(self, plan: ListenerPlan, outbox: Outbox, by_route: dict[str, Cells], ledger: Ledger) -> None:
        """by_route: where the plan's handlers count. ledger: where open connections are, of all workers."""
        self.plan = plan
        self.outbox = outbox
        self.name = plan.model.name
        self.draining = False
        self.connections: set[ClientConnection] = set()
        self.total = 0
        self.by_route = by_route
        self.reasons: Counter[str] = Counter()
        self.not_let_in: Counter[str] = Counter()
        self._admission = Admission(plan.model.listener, ledger)
        self.empty = asyncio.Event()
        self.empty.set()

    def replan(self, plan: ListenerPlan) -> None:
        """Serves by another plan from now on; who is connected stays."""
        self._admission = Admission(plan.model.listener, self._admission.ledger)
        self.plan = plan
        for connection in self.connections:
            connection.trusted, connection.forwarding = self.forwarding_of(connection.info)

    def describe(self, transport: asyncio.Transport) -> ConnectionInfo:
        """What is known of the connection behind the transport."""
        peer = transport.get_extra_info("peername") or ("",)
        tls = transport.get_extra_info("ssl_object")
        certificate = client_certificate(tls.getpeercert()) if tls is not None else None
        return ConnectionInfo(str(peer[0]), self.name, "http" if tls is None else "https", certificate)

    def forwarding_of(self, info: ConnectionInfo) -> tuple[bool, str]:
        """Whether the peer is a trusted proxy, and the forwarding fields of its requests where it is not."""
        return is_trusted(info.client, self.plan.trusted), own_text(info.client, info.scheme)

    def opened(self, connection: ClientConnection) -> Denial | None:
        """A client has connected: why it is not let in, None where it is."""
        self.connections.add(connection)
        self.empty.clear()
        self.total += 1
        client = ip_of(connection.info.client)
        denial = self._admission.refusal(client, time.monotonic())
        if denial is None:
            connection.admitted = True
            self._admission.opened(client)
        else:
            self.not_let_in[denial.value] += 1
        return denial

    def closed(self, connection: ClientConnection) -> None:
        """The connection ended."""
        self.connections.discard(connection)
        if not self.connections:
            self.empty.set()
        if connection.admitted:
            self._admission.ended(ip_of(connection.info.client))

    def count(self, exchange: Exchange) -> None:
        """An exchange is over: counts it and logs it."""
        seconds = exchange.seconds = time.monotonic() - exchange.started
        handler, backend = exchange.handler, exchange.backend
        key = NOBODY if backend is None else backend.key
        cell = handler.cells.get(key)
        if cell is None:
            cell = handler.cells[key] = Measures()
        cell.count(exchange.status, bucket_of(seconds), seconds, exchange.bytes_in, exchange.bytes_out)
        if exchange.reason:
            self.reasons[exchange.reason] += 1
        log = exchange.plan.log
        if log is not None:
            log[0].add(log[1], handler.place(self.name, exchange.service), exchange)

    def refused(self, connection: ClientConnection, refusal: Refused, size: int) -> None:
        """Something that was no request was answered so."""
        cell = self.plan.unmatched.cells.setdefault(NOBODY, Measures())
        cell.count(refusal.status, 0, 0.0, 0, size)
        self.reasons[refusal.reason] += 1
        if self.plan.log is not None:
            log, form = self.plan.log
            unread = Unread(connection.info.client, refusal.status, refusal.reason, refusal.detail, size)
            log.add(form, self.plan.unmatched.place(self.name, None), unread)


def ip_of(client: str) -> IPAddress:
    """The address of a peer, without a zone."""
    return ip_address(client.partition("%")[0])
