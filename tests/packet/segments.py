"""Packets of the setting's clients and backends, for tests of flows over time."""

from __future__ import annotations

from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw, raw

from lb4.packet.keys import destination_of, source_of
from lb4.packet.translate import Translator
from tests.packet.network import BIND, CLIENT


def segment(flags: str, port: int = 41000, payload: bytes = b"", client: str = CLIENT) -> bytes:
    return raw(IP(src=client, dst=BIND) / TCP(sport=port, dport=80, flags=flags, seq=100, ack=7) / Raw(payload))


def datagram(payload: bytes = b"x", port: int = 41000, client: str = CLIENT) -> bytes:
    return raw(IP(src=client, dst=BIND) / UDP(sport=port, dport=80) / Raw(payload))


def reply(core: Translator, flags: str, port: int = 41000) -> bytes:
    """A segment from the backend of the flow that a client's port has."""
    flow = next(f for f in core.table if source_of(f.out.key).port == port)
    source, to = destination_of(flow.out.new), source_of(flow.out.new)
    return raw(IP(src=str(source.ip), dst=str(to.ip)) / TCP(sport=source.port, dport=to.port, flags=flags))


def backends_of(core: Translator) -> list[str]:
    return [str(flow.backend) for flow in core.table]
