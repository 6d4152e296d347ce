"""What a `terminate` listener is asked to do, as frozen values. Times are seconds.

The rule: it knows addresses and, where it looks at a TLS ClientHello, the name the client asks for; nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lb4.model import IPNetwork, Listener, Service


@dataclass(frozen=True, slots=True)
class TerminateListener:
    """A listener of mode `terminate`.

    accept_proxy: networks whose PROXY protocol header is believed (and demanded); from others none is looked for.
    sni: the service by server name (`*.example.org` for every name one label below) for TLS passed through; a name
    that is not there goes to the listener's service. terminates_tls: TLS ends here and bytes go on in the clear.
    transparent: the backend sees the client's address, which takes CAP_NET_ADMIN. max_udp_flows: how many clients a UDP
    listener keeps in one worker at most. Of the timeouts, 0 is without end.
    """

    listener: Listener
    connect_timeout: float = 5.0
    idle_timeout: float = 600.0
    accept_proxy: tuple[IPNetwork, ...] = ()
    sni: Mapping[str, str] = field(default_factory=dict)
    terminates_tls: bool = False
    transparent: bool = False
    max_udp_flows: int = 65536


@dataclass(frozen=True, slots=True)
class TerminatePart:
    """All that a terminate worker serves.

    tls: by listener, the certificates, and backend_tls: by service, as the worker's TLS code takes them.
    """

    listeners: tuple[TerminateListener, ...]
    services: Mapping[str, Service]
    tls: Mapping[str, object] = field(default_factory=dict)
    backend_tls: Mapping[str, object] = field(default_factory=dict)
