"""`explain`: what would happen to the first packet of a flow, by what is in force.

The rule: nothing is sent. The ruleset is the one `apply` makes; affinities are those the kernel holds now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from cli.operations.context import Context
from cli.operations.documents import ExplainDocument
from cli.operations.error import OperationError
from cli.operations.explain_request import explain_request
from cli.operations.transition import assistance_of
from cli.operations.wanted import in_force, required, weighed
from lb4.address import AddressError, Endpoint, parse_endpoint
from lb4.compile.table import compile_table
from lb4.explain.packet import Packet, affinities_at
from lb4.explain.packet import explain as explained
from lb4.model import Balancer, Protocol
from lb4.nft.field import Value


def explain(
    context: Context, *, protocol: str, client: str, target: str, headers: Sequence[str] = ()
) -> ExplainDocument | dict[str, Any]:
    """The document of INTERFACE.md section 4; for protocol `http`, client is the method and target the URL.

    Raises OperationError where an end is no address, or nothing is in force that could answer a request.
    """
    if protocol == "http":
        found = required(context)
        return explain_request(found.configuration, found.balancer, client, target, headers)
    packet = Packet(Protocol(protocol), _end(client, "CLIENT"), _end(target, "TARGET"))
    if packet.client.family != packet.target.family:
        raise OperationError(f"{client} and {target} are of two address families", exit=2)
    now = in_force(context)
    balancer = now.balancer if now is not None else Balancer({}, {})
    table = compile_table(weighed(context, balancer), assistance_of(context))
    return asdict(explained(balancer, table, packet, dict(_learnt(context, balancer, packet))))


def _end(text: str, which: str) -> Endpoint:
    try:
        end = parse_endpoint(text)
    except AddressError as error:
        raise OperationError(f"{which}: {error}", exit=2) from None
    if end.port is None:
        raise OperationError(f"{which}: {text} has no port", exit=2)
    return end


def _learnt(context: Context, balancer: Balancer, packet: Packet) -> Iterator[tuple[str, dict[Value, Value]]]:
    """The affinity maps of the packet's target, as the kernel has them now."""
    for name in affinities_at(balancer, packet):
        yield name, {live.low: live.data for live in context.kernel.elements(name) if live.data is not None}
