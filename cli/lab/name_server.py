"""The lab's name server: answers A and AAAA for its records, over UDP.

The rule: it knows the names of the address plan and no others; those do not exist (NXDOMAIN).
"""

from __future__ import annotations

import asyncio
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from cli.lab.plan import DOMAIN, SERVERS, address_of
from lb4.address import FAMILIES, Family

TTL = 5
"""Seconds that an answer may be kept."""
TYPES: dict[Family, str] = {"ip": "A", "ip6": "AAAA"}


def records() -> dict[str, dict[str, list[str]]]:
    """By name, by record type, the addresses: every server under its own name, and all of them as `servers`."""
    found: dict[str, dict[str, list[str]]] = {}
    for server in SERVERS:
        for name in (f"{server}.{DOMAIN}.", f"servers.{DOMAIN}."):
            for family in FAMILIES:
                found.setdefault(name, {}).setdefault(TYPES[family], []).append(str(address_of(server, family)))
    return found


def answer(query: bytes) -> bytes | None:
    """The response to a query, None to what is none."""
    try:
        asked = dns.message.from_wire(query)
    except dns.exception.DNSException:
        return None
    if not asked.question:
        return None
    response = dns.message.make_response(asked, recursion_available=True)
    response.flags |= dns.flags.AA
    question = asked.question[0]
    known = records().get(question.name.to_text().lower())
    if known is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()
    kind = dns.rdatatype.to_text(question.rdtype)
    if kind in known:
        response.answer.append(dns.rrset.from_text_list(question.name, TTL, "IN", kind, known[kind]))
    return response.to_wire()


class NameServer(asyncio.DatagramProtocol):
    """Answers each query."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps what it answers by."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, client: tuple[str, int]) -> None:
        """Answers."""
        response = answer(data)
        if response is not None:
            self._transport.sendto(response, client)
