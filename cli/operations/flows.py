"""`flows`: the live flows of lbctl's listeners, with all four addresses.

The rule: the kernel's flows are those that conntrack holds now; those of processes come from `lbctl run`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_network

from cli.operations.context import Context
from cli.operations.documents import FlowDocument
from cli.operations.error import OperationError
from cli.operations.names import service_of
from cli.operations.wanted import in_force
from lb4.address import AddressError, Endpoint, parse_endpoint
from lb4.conntrack.attribution import Attribution
from lb4.flow import Flow
from lb4.model import IPNetwork

Wanted = Callable[[Endpoint], bool]


def flows(
    context: Context, *, service: str | None = None, backend: str | None = None, client: str | None = None
) -> list[FlowDocument]:
    """Those of a service, of a backend (`10.0.1.2:80` or `10.0.1.2`), of a client (an address or a prefix)."""
    found = in_force(context)
    if found is None:
        return []
    if service is not None:
        service_of(found.balancer, service)
    of_backend, of_client = _matching(backend, "--backend"), _matching(client, "--client")
    return [
        document(listener, name, flow)
        for listener, name, flow in live_flows(context, Attribution(found.balancer))
        if service in (None, name) and of_backend(flow.backend) and of_client(flow.client)
    ]


def live_flows(context: Context, owners: Attribution) -> Iterator[tuple[str, str, Flow]]:
    """(listener, service, flow) of all flows, the kernel's first."""
    if owners.balancer.kernel_listeners():
        for flow in context.conntrack.flows():
            owner = owners.owner(flow)
            if owner is not None:
                yield owner.listener.name, owner.service.name, flow
    if context.runtime is not None:
        yield from context.runtime.flows()


def document(listener: str, service: str, flow: Flow) -> FlowDocument:
    """The document of one flow, as INTERFACE.md has it."""
    return {
        "listener": listener,
        "service": service,
        "protocol": flow.protocol.value,
        "client": str(flow.client),
        "target": str(flow.target),
        "source": str(flow.source),
        "backend": str(flow.backend),
        "state": flow.state,
        "packets": list(flow.packets),
        "bytes": list(flow.bytes),
    }


def _matching(text: str | None, option: str) -> Wanted:
    """Whether an endpoint is meant by the text: its address and port, its address, or a prefix it is in."""
    if text is None:
        return lambda _: True
    if "/" in text:
        network = _network(text, option)
        return lambda endpoint: endpoint.ip in network
    try:
        wanted = parse_endpoint(text)
    except AddressError as error:
        raise OperationError(f"{option}: {error}", exit=2) from None
    return lambda endpoint: endpoint.ip == wanted.ip and wanted.port in (None, endpoint.port)


def _network(text: str, option: str) -> IPNetwork:
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise OperationError(f"{option}: {error}", exit=2) from None
