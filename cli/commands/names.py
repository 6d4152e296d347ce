"""Arguments that name a listener, a service or a backend, completed from what is in force.

The rule: completion never fails and never writes: where nothing can be read, it offers nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from cli.config.model import Configuration


class ServiceName(click.ParamType[str]):
    """The name of a service."""

    name = "service"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The services in force."""
        found = _in_force()
        return _starting([] if found is None else found.services, incomplete)


class ListenerName(click.ParamType[str]):
    """The name of a listener."""

    name = "listener"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The listeners in force."""
        found = _in_force()
        return _starting([] if found is None else found.listeners, incomplete)


class BackendAddress(click.ParamType[str]):
    """The address of a backend."""

    name = "backend"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The backends in force, of the service that was named before or of all."""
        found = _in_force()
        named = ctx.params.get("service")
        services = [] if found is None else [s for name, s in found.services.items() if named in (None, name)]
        return _starting([str(backend) for service in services for backend in service.backends], incomplete)


LISTENER = ListenerName()
SERVICE = ServiceName()
BACKEND = BackendAddress()


def _starting(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(set(names)) if name.startswith(incomplete)]


def _in_force() -> Configuration | None:
    from cli.config.errors import ConfigError
    from cli.config.loader import load
    from cli.operations.context import state_directory
    from cli.state import State, StateError

    try:
        applied = State(state_directory(os.environ)).applied()
        return None if applied is None else load(applied.text, applied.path)
    except (StateError, ConfigError):
        return None
