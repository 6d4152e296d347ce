"""A configuration file's text to a Configuration: read, validate, build, check.

The rule: any text at all ends in a Configuration or in a ConfigError that names all that was found wrong.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from cli.config import build
from cli.config.document import DocumentError, Place, Value, place_at, read
from cli.config.errors import ConfigError, Problem
from cli.config.model import Configuration
from cli.config.problems import problems_of
from cli.config.reading import read_text
from cli.config.rules import conflicts, warnings
from cli.config.schema import FileSchema, file_adapter
from lb4.model import Listener, Mode, Service

if TYPE_CHECKING:
    from lb7.model import HttpBalancer

PROBLEMS_MAX = 100


def load_file(path: str | Path) -> Configuration:
    """The configuration in a file. Raises ConfigError, also when the file cannot be read."""
    return load(read_text(path), str(path))


def load(text: str, origin: str) -> Configuration:
    """The configuration in a text; origin names the text in errors. Raises ConfigError."""
    with _collecting_later():
        return _loaded(text, origin)


def _loaded(text: str, origin: str) -> Configuration:
    try:
        value, place = read(text)
    except DocumentError as error:
        raise ConfigError(origin, [error.problem]) from None
    schema = _validated(value, place, origin)
    listeners = {name: build.listener(name, item) for name, item in schema.listeners.items()}
    services = {name: build.service(name, item, Path(origin).parent) for name, item in schema.services.items()}
    found = conflicts(schema, listeners, services)
    if found:
        raise _error(origin, place, found)
    return Configuration(
        version=schema.version,
        workers=schema.workers,
        listeners=listeners,
        services=services,
        settings=build.settings(schema),
        terminate={
            name: build.terminate(schema.listeners[name], Path(origin).parent)
            for name, listener in listeners.items()
            if listener.mode is Mode.TERMINATE
        },
        http_or_none=_http(schema, listeners, services, origin),
        warnings=tuple(_placed(problem, place).written(origin) for problem in warnings(schema, listeners, services)),
        origin=origin,
        text=text,
    )


def _http(
    schema: FileSchema, listeners: Mapping[str, Listener], services: Mapping[str, Service], origin: str
) -> HttpBalancer | None:
    if not any(listener.mode is Mode.HTTP for listener in listeners.values()):
        return None
    # Imported only here: files without mode `http` are read a tenth faster.
    from cli.config import build_http

    return build_http.balancer(schema, listeners, services, Path(origin).parent)


@contextmanager
def _collecting_later() -> Iterator[None]:
    """No garbage collection: all that is made here stays, and looking through it takes a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _validated(value: Value, place: Place, origin: str) -> FileSchema:
    if value is None:
        raise ConfigError(origin, [Problem((), "the file is empty; it starts with version: 1", 1)])
    if not isinstance(value, dict):
        raise ConfigError(origin, [Problem((), "the file is not a mapping; it starts with version: 1", place.line)])
    try:
        return file_adapter().validate_python(value)
    except ValidationError as error:
        raise _error(origin, place, problems_of(error, FileSchema)) from None


def _error(origin: str, place: Place, problems: list[Problem]) -> ConfigError:
    """All problems in the order of the file, each once, up to PROBLEMS_MAX."""
    placed = sorted(dict.fromkeys(_placed(problem, place) for problem in problems), key=lambda p: p.line or 0)
    kept = placed[:PROBLEMS_MAX]
    if len(placed) > PROBLEMS_MAX:
        kept.append(Problem((), f"and {len(placed) - PROBLEMS_MAX} more"))
    return ConfigError(origin, kept)


def _placed(problem: Problem, root: Place) -> Problem:
    line, path = place_at(root, problem.path)
    return Problem(path, problem.message, line)
