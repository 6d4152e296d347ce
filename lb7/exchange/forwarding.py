"""Which fields go on, and which the proxy adds, in both directions (RFC 9110 section 7.6, RFC 7239).

The rule: what concerns one hop ends here, what a client claims about its own address counts only from a trusted
proxy, and everything else goes on in its order, its case and its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from lb4.model import IPNetwork
from lb7.fields import Field, Kind
from lb7.message import RequestHead, RequestSection, ResponseHead, Section
from lb7.model import HeaderChanges

VIA = b"Via: 1.1 lbctl\r\n"
HOP = Kind.CONNECTION | Kind.HOP_BY_HOP | Kind.UPGRADE | Kind.TE | Kind.TRANSFER_ENCODING
REQUEST_HOP = HOP | Kind.FORWARDING | Kind.REQUEST_ID | Kind.TRACEPARENT
RESPONSE_SPECIAL = HOP
TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context section 3.2, version 00."""
REQUEST_ID = re.compile(rb"[\x21\x23-\x5b\x5d-\x7e]{1,128}")
"""Neither quotes nor backslashes, so that it stands in JSON as it is."""
NEVER_UPGRADED = frozenset({b"h2c"})
"""HTTP/2 over a connection that was checked as HTTP/1.1 would pass requests by unseen."""


def request_fields(head: Section) -> Sequence[Field]:
    """The client's fields that go on; forwarding fields, request id and trace are the caller's to add."""
    if not head.kinds & REQUEST_HOP:
        return head.fields
    named = head.options
    return [f for f in head.fields if not f.kind & REQUEST_HOP and (f.name not in named or f.kind & Kind.HOST)]


def response_fields(head: ResponseHead) -> Sequence[Field]:
    """The backend's fields that go on."""
    # RFC 9110 section 8.6: neither 1xx nor 204 has a Content-Length.
    bodiless = head.status < 200 or head.status == 204
    if not head.kinds & HOP and not bodiless:
        return head.fields
    unwanted = HOP | Kind.CONTENT_LENGTH if bodiless else HOP
    return [f for f in head.fields if not f.kind & unwanted and f.name not in head.options]


def upgrade_text(section: RequestSection) -> str:
    """The lines that ask the backend for the client's upgrade, or that trailers are welcome; often none."""
    protocols = [protocol.strip(b" \t") for protocol in section.upgrade.split(b",")]
    wanted = [protocol for protocol in protocols if protocol and may_upgrade(protocol)]
    if wanted:
        return f"Connection: Upgrade\r\nUpgrade: {b', '.join(wanted).decode('latin-1')}\r\n"
    if section.kinds & Kind.TE and any(b"trailers" in value.lower() for value in section.values(b"te")):
        return "Connection: TE\r\nTE: trailers\r\n"
    return ""


def may_upgrade(protocol: bytes) -> bool:
    """Whether a connection may become one of this protocol, named with or without a version."""
    return protocol.partition(b"/")[0].strip(b" \t").lower() not in NEVER_UPGRADED


def apply_changes(fields: Iterable[Field], changes: HeaderChanges) -> list[Field]:
    """Removes, then sets, then adds. `_` counts as `-` in names: many backends cannot tell them apart (CGI's rule)."""
    gone = {dashed(name) for name in changes.remove} | {dashed(name) for name, _ in changes.set}
    kept = [field for field in fields if dashed(field.name) not in gone] if gone else list(fields)
    return kept + [Field(name, value) for name, value in (*changes.set, *changes.add)]


def dashed(name: bytes) -> bytes:
    """A field name as CGI's rule makes names equal."""
    return name.lower().replace(b"_", b"-")


def is_trusted(address: str, trusted: Sequence[IPNetwork]) -> bool:
    """Whether the peer's word on forwarding counts."""
    if not trusted:
        return False
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(ip.version == network.version and ip in network for network in trusted)


def real_client(peer: str, section: Section, trusted: Sequence[IPNetwork]) -> str:
    """The client's address: of X-Forwarded-For, from the right, the first that is no trusted proxy."""
    hops = [hop.strip() for value in section.values(b"x-forwarded-for") for hop in value.split(b",")]
    client = peer
    for hop in reversed(hops):
        if not is_trusted(client, trusted):
            break
        try:
            # A zone means nothing here, and may hold any character.
            client = str(ip_address(hop.decode("latin-1").strip("[]").partition("%")[0]))
        except ValueError:
            break
    return client


def own_text(peer: str, scheme: str) -> str:
    """The forwarding fields of a request whose peer is the client itself, but for its host."""
    return f"X-Forwarded-For: {peer}\r\nX-Forwarded-Proto: {scheme}\r\n"


def appended_text(peer: str, scheme: str, head: RequestHead) -> str:
    """The forwarding fields of a request from a trusted proxy: its own, and the proxy's address at their end."""
    section = head.section
    chain = b", ".join([*section.values(b"x-forwarded-for"), peer.encode()]).decode("latin-1")
    proto = (section.get(b"x-forwarded-proto") or scheme.encode()).decode("latin-1")
    host = (section.get(b"x-forwarded-host") or head.host).decode("latin-1")
    return f"X-Forwarded-For: {chain}\r\nX-Forwarded-Proto: {proto}\r\nX-Forwarded-Host: {host}\r\n"


def forwarded_text(peer: str, scheme: str, host: str, before: Sequence[bytes]) -> str:
    """RFC 7239's Forwarded: what trusted proxies said before, and this hop."""
    address = f'"[{peer}]"' if ":" in peer else peer
    hop = f"for={address};proto={scheme}" + (f';host="{host}"' if host else "")
    return f"Forwarded: {', '.join([*[value.decode('latin-1') for value in before], hop])}\r\n"
