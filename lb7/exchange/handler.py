"""A route made ready: what is looked up once when it is configured, so that a request only follows references.

The rule: one handler per route and configuration; it decides for a request who checks it, where it goes and which
fields are changed, and does no I/O.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from ipaddress import ip_address
from random import random
from typing import TYPE_CHECKING, Any

from lb7.access_log import where
from lb7.auth.verdict import ALLOWED, Allowed, Authenticator, Verdict
from lb7.backends.affinity import cookie_value, set_cookie
from lb7.exchange.deadlines import Deadlines
from lb7.exchange.forwarding import VIA, apply_changes, response_fields
from lb7.exchange.outgoing import Outgoing
from lb7.fields import Field
from lb7.message import ResponseHead
from lb7.model import Forward, Redirect, Respond, Route
from lb7.refusal import Refused, phrase
from lb7.routes.rewriting import location, rewritten_target

if TYPE_CHECKING:
    from lb7.backends.service_state import BackendState, ServiceState
    from lb7.exchange.exchange import Exchange
    from lb7.exchange.outbound import Outbound
    from lb7.measures import Cells


class AuthRefused(Refused):
    """An authenticator's answer instead of a backend's."""

    def __init__(self, status: int, reason: str, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        super().__init__(status, reason, "the request did not show what the route asks for")
        self.headers = headers
        self.body = body


class Waits:
    """The deadlines of requests with the same timeouts; each calls the exchange that waited too long."""

    __slots__ = ("first_bytes", "idles", "queues", "wholes")

    def __init__(
        self,
        first_bytes: Deadlines[Outbound],
        idles: Deadlines[Outbound],
        queues: Deadlines[Outbound],
        wholes: Deadlines[Outbound],
    ) -> None:
        self.first_bytes = first_bytes
        self.idles = idles
        self.queues = queues
        self.wholes = wholes


class Handler(ABC):
    """What happens to the requests of one route."""

    def __init__(
        self,
        route: Route,
        services: Sequence[tuple[int, ServiceState]],
        gate: Authenticator | None,
        waits: Waits,
        cells: Cells,
        request_id_header: str,
        forwarded: bool,
    ) -> None:
        """services: each with the sum of the weights up to and with its own. gate: who checks; None lets all pass."""
        self.route = route
        self.services = services
        self.gate = gate
        self.first_bytes, self.idles = waits.first_bytes, waits.idles
        self.queues, self.wholes = waits.queues, waits.wholes
        self.cells = cells
        self.retries_status = any(condition.isdigit() for condition in route.retries.on)
        self.places: dict[str, str] = {}
        self._outgoing = Outgoing(route, request_id_header, forwarded)
        self.action: Any = route.action
        self._plain_response = not route.response_headers

    def authenticate(self, gate: Authenticator, exchange: Exchange) -> Awaitable[None] | None:
        """Asks the gate: None where it agreed at once, else what to wait for. Raises Refused."""
        headers = exchange.head.section.headers
        answer = gate.authenticate(exchange.method, exchange.host, exchange.target, headers, exchange.client.info)
        if answer is ALLOWED:
            return None
        if isinstance(answer, Awaitable):
            return _agreed_later(exchange, answer)
        _agreed(exchange, answer)
        return None

    @abstractmethod
    def act(self, exchange: Exchange) -> None:
        """Does what the route says. Raises Refused."""

    def _own_lines(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        fields: Sequence[Field] = [Field(name, value) for name, value in headers]
        return b"".join([field.line for field in apply_changes(fields, self.route.response_headers)])

    def response_head(self, exchange: Exchange, head: ResponseHead) -> bytes:
        """The field lines of the backend's response as the client gets them, without framing."""
        passed = head.passed
        if not self._plain_response:
            fields = apply_changes(response_fields(head), self.route.response_headers)
            passed = b"".join([*[field.line for field in fields], VIA])
        if exchange.affinity is not None and exchange.backend is not None:
            name, had, secure = exchange.affinity
            if had is not exchange.backend:
                passed += set_cookie(name, exchange.backend.cookie, secure)
        elif exchange.affinity_key is not None:
            self._remember(exchange, exchange.affinity_key)
        return passed

    def _remember(self, exchange: Exchange, key: bytes) -> None:
        service, backend = exchange.service, exchange.backend
        if service is not None and service.table is not None and backend is not None:
            service.table.remember(key, backend.model.endpoint, exchange.started)

    def place(self, listener: str, service: ServiceState | None) -> str:
        """Listener, route and service as the access log writes them."""
        name = "" if service is None else service.name
        found = self.places.get(name)
        if found is None:
            found = self.places[name] = where(listener, self.route.name, name)
        return found


class Forwarding(Handler):
    """The route leads to a service, or to one of several."""

    action: Forward

    def act(self, exchange: Exchange) -> None:
        """See Handler."""
        service = self.services[0][1] if len(self.services) == 1 else self._split()
        target = exchange.target
        if self.action.rewrite.path_prefix is not None:
            target = rewritten_target(self.action.rewrite, self.route.match, target)
        key = b""
        preferred = None
        if service.needs_key:
            key, preferred = self._key(exchange, service)
        head = self._outgoing.head(exchange, target)
        exchange.forward(service, head, service.candidates(key, exchange.started, preferred))

    def _split(self) -> ServiceState:
        drawn = random() * self.services[-1][0]
        return next(service for upper, service in self.services if drawn < upper)

    def _key(self, exchange: Exchange, service: ServiceState) -> tuple[bytes, BackendState | None]:
        """What identifies the client to the service, and the backend that it had."""
        affinity = service.model.service.affinity
        section, client = exchange.head.section, exchange.client
        address = packed(exchange.client_address)
        if affinity is None:
            return address, None
        if affinity.key == "cookie":
            name = affinity.name.encode()
            had = service.of_cookie(cookie_value(section.values(b"cookie"), name))
            exchange.affinity = (name, had, client.info.scheme == "https")
            return address, had
        key = address if affinity.key == "client-ip" else section.get(affinity.name.lower().encode())
        if key is None or service.table is None:
            return address, None
        exchange.affinity_key = key
        return key, service.of_endpoint(service.table.backend_of(key, exchange.started))


class Responding(Handler):
    """The route answers by itself."""

    action: Respond

    def act(self, exchange: Exchange) -> None:
        """See Handler."""
        action = self.action
        exchange.answer(action.status, phrase(action.status), self._own_lines(action.headers), action.body)


class Redirecting(Handler):
    """The route sends the client elsewhere."""

    action: Redirect

    def act(self, exchange: Exchange) -> None:
        """See Handler."""
        scheme, status = exchange.client.info.scheme, self.action.status
        there = location(self.action, self.route.match, scheme, exchange.host, exchange.target)
        lines = self._own_lines([(b"Location", there.encode("latin-1", "replace"))])
        exchange.answer(status, phrase(status), lines, b"")


HANDLERS: dict[type, type[Handler]] = {Forward: Forwarding, Respond: Responding, Redirect: Redirecting}
"""The handler of each kind of action."""


def packed(address: str) -> bytes:
    """The address as hashing schedulers want it, in every mode alike."""
    return ip_address(address.partition("%")[0]).packed


async def _agreed_later(exchange: Exchange, answer: Awaitable[Verdict]) -> None:
    _agreed(exchange, await answer)


def _agreed(exchange: Exchange, answer: Verdict) -> None:
    """Takes up what the authenticator says of an allowed request. Raises AuthRefused."""
    if not isinstance(answer, Allowed):
        raise AuthRefused(answer.status, answer.reason, answer.headers, answer.body)
    exchange.verdict = answer
