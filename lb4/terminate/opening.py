"""The opening of a terminated connection: from its first bytes to the service that gets it.

The rule: pure; called with all bytes received so far, it answers with None until it knows enough.
"""

from __future__ import annotations

from dataclasses import dataclass

from lb4.address import Endpoint
from lb4.terminate.client_hello import server_name
from lb4.terminate.model import TerminateListener
from lb4.terminate.proxy_protocol import parse


@dataclass(frozen=True, slots=True)
class Opened:
    """Who the client is, whom it asked for, which service gets it, and how many bytes were the balancer's own."""

    client: Endpoint
    target: Endpoint
    service: str
    taken: int = 0


def needs_bytes(listener: TerminateListener, peer: Endpoint) -> bool:
    """Whether the service depends on what the client sends first."""
    return bool(listener.sni) or _believes(listener, peer)


def opened(listener: TerminateListener, peer: Endpoint, target: Endpoint, data: bytes) -> Opened | None:
    """What the bytes so far open, or None. Raises ProxyProtocolError or NoClientHelloError."""
    taken, client = 0, peer
    if _believes(listener, peer):
        header = parse(data)
        if header is None:
            return None
        taken, client, target = header.size, header.client or peer, header.target or target
    service: str | None = listener.listener.service
    if listener.sni:
        name = server_name(data[taken:])
        if name is None:
            return None
        service = service_for(listener, name)
    return Opened(client, target, service or "", taken)


def service_for(listener: TerminateListener, name: str) -> str:
    """The service of a server name: the exact one, the wildcard's one label above, the listener's own."""
    wildcard = "*." + name.partition(".")[2]
    return listener.sni.get(name) or listener.sni.get(wildcard) or listener.listener.service


def _believes(listener: TerminateListener, peer: Endpoint) -> bool:
    return any(peer.ip in network for network in listener.accept_proxy)
