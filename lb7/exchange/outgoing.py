"""The head of a request as a backend gets it, but for the framing of its body.

The rule: written anew from what was parsed, as one text that is encoded once; the common case joins texts that were
made before the request came.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import getrandbits
from typing import TYPE_CHECKING

from lb7.auth.verdict import ALLOWED, Allowed
from lb7.exchange.forwarding import (
    REQUEST_ID,
    TRACEPARENT,
    appended_text,
    apply_changes,
    forwarded_text,
    request_fields,
)
from lb7.fields import Field, Kind
from lb7.message import RequestSection
from lb7.model import Forward, HeaderChanges, Route

if TYPE_CHECKING:
    from lb7.exchange.exchange import Exchange

_HOST = Kind.HOST
_GIVEN_IDS = Kind.REQUEST_ID | Kind.TRACEPARENT


class Outgoing:
    """How the requests of one route are written."""

    __slots__ = ("_changes", "_forwarded", "_host", "_id_key", "_id_name", "_plain", "_usual_id")

    def __init__(self, route: Route, request_id_header: str, forwarded: bool) -> None:
        """forwarded: whether RFC 7239's Forwarded is sent too."""
        rewrite = route.action.rewrite if isinstance(route.action, Forward) else None
        self._host = rewrite.host if rewrite is not None else None
        self._changes = route.request_headers
        self._forwarded = forwarded
        self._id_name = request_id_header
        self._id_key = request_id_header.lower().encode()
        self._usual_id = self._id_key == b"x-request-id"
        self._plain = not route.request_headers and not self._host

    def head(self, exchange: Exchange, target: str) -> bytes:
        """The request line and all field lines but Transfer-Encoding; sets the exchange's request id."""
        head, client = exchange.head, exchange.client
        section = head.section
        passed = section.passed_text
        if not self._plain or exchange.verdict is not ALLOWED:
            passed = self._changed(section, exchange.verdict)
        if client.trusted:
            forwarding = appended_text(client.info.client, client.info.scheme, head)
        else:
            forwarding = client.forwarding
            if exchange.host:
                forwarding += f"X-Forwarded-Host: {exchange.host}\r\n"
        if self._forwarded:
            before = section.values(b"forwarded") if client.trusted else ()
            forwarding += forwarded_text(client.info.client, client.info.scheme, exchange.host, before)
        if not section.kinds & _HOST:
            forwarding += f"Host: {exchange.host or 'localhost'}\r\n"
        bits = getrandbits(192)
        made = f"{bits >> 64:032x}"
        if section.kinds & _GIVEN_IDS or not self._usual_id:
            identity = self._identity(exchange, section, made, bits & 0xFFFFFFFFFFFFFFFF)
        else:
            exchange.request_id = made
            span = f"{bits & 0xFFFFFFFFFFFFFFFF | 1:016x}"
            identity = f"{self._id_name}: {made}\r\ntraceparent: 00-{made}-{span}-00\r\n"
        text = (
            f"{exchange.method} {target} HTTP/1.1\r\n{passed}{forwarding}Via: 1.1 lbctl\r\n{section.hop_text}{identity}"
        )
        return text.encode("latin-1")

    def _identity(self, exchange: Exchange, section: RequestSection, made: str, span: int) -> str:
        """The lines of the request id and the trace: the client's where they are well-formed, else new ones."""
        given = section.get(self._id_key)
        if given is not None and REQUEST_ID.fullmatch(given):
            exchange.request_id = given.decode("latin-1")
            # Another name than the usual one was passed on with the other fields.
            line = f"{self._id_name}: {exchange.request_id}\r\n" if self._usual_id else ""
        else:
            exchange.request_id = made
            line = f"{self._id_name}: {made}\r\n"
        trace = section.get(b"traceparent")
        if trace is None or TRACEPARENT.fullmatch(trace) is None:
            return f"{line}traceparent: 00-{made}-{span | 1:016x}-00\r\n"
        return f"{line}traceparent: {trace.decode()}\r\n"

    def _changed(self, section: RequestSection, verdict: Allowed) -> str:
        fields: Sequence[Field] = request_fields(section)
        fields = apply_changes(fields, HeaderChanges(set=verdict.headers, remove=verdict.remove))
        if self._host:
            host = Field(b"Host", self._host.encode())
            fields = [host if field.kind == _HOST else field for field in fields]
        return b"".join([field.line for field in apply_changes(fields, self._changes)]).decode("latin-1")
