"""What shall be in force: the file, with the operator's changes and what health checks found put over it.

The rule: the file is never changed by an override; both are kept apart until they meet here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cli.operations.context import Context
from cli.operations.error import OperationError
from cli.state import Override, Overrides, Remembered
from lb4.address import Endpoint, IPAddress
from lb4.health.ramp import ramped
from lb4.model import Backend, Balancer, Health, Service
from lb7.names.resolution import with_addresses

if TYPE_CHECKING:
    from cli.config.model import Configuration

EMPTY = Balancer({}, {})
"""Nothing is balanced."""

NOTHING_APPLIED = "nothing is in force here: `lbctl apply FILE` first"

HealthFound = Mapping[tuple[str, Endpoint], Health]


@dataclass(frozen=True, slots=True)
class InForce:
    """What was applied, as remembered, as configuration, and as it is with all put over it."""

    remembered: Remembered
    configuration: Configuration
    balancer: Balancer


def configured(remembered: Remembered) -> Configuration:
    """The configuration of a text. Raises OperationError (exit 2) with a line for each error."""
    from cli.config.errors import ConfigError
    from cli.config.loader import load

    try:
        return load(remembered.text, remembered.path)
    except ConfigError as error:
        raise OperationError(f"{remembered.path} does not validate", exit=2, lines=error.lines) from None


def in_force(context: Context, known: Configuration | None = None) -> InForce | None:
    """What is in force, None if nothing is. known: a configuration that need not be read twice if it is that one.

    Raises OperationError where what was applied is no longer valid.
    """
    remembered = context.state.applied()
    if remembered is None:
        return None
    if known is None and context.runtime is not None:
        known = context.runtime.configuration()
    same = known is not None and (known.text, known.origin) == (remembered.text, remembered.path)
    try:
        configuration = known if known is not None and same else configured(remembered)
    except OperationError as error:
        message = f"what was applied from {remembered.path} does not validate any more; apply a file that does"
        raise OperationError(message, lines=error.lines) from None
    return InForce(remembered, configuration, wanted(context, configuration.balancer))


def before(context: Context, known: Configuration | None = None) -> InForce:
    """What is in force, an empty configuration where nothing valid is. known: see in_force."""
    from cli.config.model import Configuration

    try:
        found = in_force(context, known)
    except OperationError:
        found = None
    return found or InForce(
        Remembered("", ""), Configuration(version=1, workers=None, listeners={}, services={}), EMPTY
    )


def required(context: Context) -> InForce:
    """What is in force. Raises OperationError where nothing is."""
    found = in_force(context)
    if found is None:
        raise OperationError(NOTHING_APPLIED)
    return found


def wanted(context: Context, balancer: Balancer) -> Balancer:
    """The file's balancer with addresses of DNS names, the operator's changes and what the checks found put over it."""
    found = context.runtime.health() if context.runtime is not None else {}
    return overlaid(by_file(context, balancer), context.state.overrides(), found)


def by_file(context: Context, balancer: Balancer) -> Balancer:
    """The file's balancer with a backend for each address of a DNS name that is known, and nothing else put over it."""
    return resolved(balancer, context.runtime.addresses() if context.runtime is not None else {})


def weighed(context: Context, balancer: Balancer) -> Balancer:
    """The balancer with the weights that are in force now: those of recovering backends grow step by step."""
    steps = context.runtime.steps() if context.runtime is not None else {}
    if not steps:
        return balancer
    by_service: dict[str, dict[Endpoint, int]] = {}
    for (service, endpoint), step in steps.items():
        by_service.setdefault(service, {})[endpoint] = step
    services = {n: ramped(s, by_service[n]) if n in by_service else s for n, s in balancer.services.items()}
    return Balancer(balancer.listeners, services)


def resolved(balancer: Balancer, addresses: Mapping[str, tuple[IPAddress, ...]]) -> Balancer:
    """The balancer with a backend for each address of its services' names."""
    if not addresses:
        return balancer
    services = {n: with_addresses(s, addresses) if s.names else s for n, s in balancer.services.items()}
    return Balancer(balancer.listeners, services)


def overlaid(balancer: Balancer, overrides: Overrides, found: HealthFound) -> Balancer:
    """The balancer with overrides and health put over its backends; what they name and it lacks is left out."""
    touched = {service for service, _ in overrides} | {service for service, _ in found}
    if not touched & balancer.services.keys():
        return balancer
    services = {
        name: _service(service, overrides, found) if name in touched else service
        for name, service in balancer.services.items()
    }
    return Balancer(balancer.listeners, services)


def _service(service: Service, overrides: Overrides, found: HealthFound) -> Service:
    return replace(
        service,
        backends=tuple(
            _backend(b, overrides.get((service.name, b.endpoint)), found.get((service.name, b.endpoint)))
            for b in service.backends
        ),
    )


def _backend(backend: Backend, override: Override | None, health: Health | None) -> Backend:
    over = override or Override()
    return replace(
        backend,
        admin=over.admin or backend.admin,
        weight=backend.weight if over.weight is None else over.weight,
        health=health or backend.health,
    )


def relevant(overrides: Overrides, *balancers: Balancer) -> Overrides:
    """The overrides of backends that one of the balancers has."""
    known = {
        (name, backend.endpoint)
        for balancer in balancers
        for name, service in balancer.services.items()
        for backend in service.backends
    }
    return {key: override for key, override in overrides.items() if key in known}
