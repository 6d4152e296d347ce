"""Finds the service and the backend that a person named, and says what was meant when there is none.

The rule: a name is never guessed: what is near is suggested, and nothing is done.
"""

from __future__ import annotations

from cli.config.errors import meant
from cli.operations.error import OperationError
from lb4.address import AddressError, Endpoint, parse_endpoint
from lb4.model import Backend, Balancer, Service


def service_of(balancer: Balancer, name: str) -> Service:
    """The service of that name. Raises OperationError."""
    found = balancer.services.get(name)
    if found is None:
        known = sorted(balancer.services)
        said = meant(name, known) or (f"; there are {', '.join(known)}" if 0 < len(known) <= 8 else "")
        raise OperationError(f"there is no service {name!r} in force{said}")
    return found


def backend_of(service: Service, text: str) -> Backend:
    """The backend at an address, its port left out if only one has the address. Raises OperationError."""
    try:
        wanted = parse_endpoint(text.strip())
    except AddressError:
        wanted = None
    exact = [b for b in service.backends if b.endpoint == wanted]
    found = exact or [b for b in service.backends if _is_address_of(wanted, b) or _is_name_of(text, b)]
    if len(found) == 1:
        return found[0]
    known = [str(b) for b in service.backends]
    if found:
        raise OperationError(f"{text} is several backends of {service.name}: {', '.join(map(str, found))}")
    said = meant(text, known) or (f"; it has {', '.join(known)}" if 0 < len(known) <= 8 else "")
    raise OperationError(f"service {service.name} has no backend {text!r}{said}")


def _is_name_of(text: str, backend: Backend) -> bool:
    """Whether it is the DNS name that the backend is an address of, alone or as the file has it."""
    return bool(backend.name) and text in (backend.name, f"dns:{backend.name}:{backend.endpoint.port}")


def _is_address_of(wanted: Endpoint | None, backend: Backend) -> bool:
    return wanted is not None and wanted.port is None and wanted.ip == backend.endpoint.ip
