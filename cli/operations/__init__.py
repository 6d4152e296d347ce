"""The operations by name, and `perform`, which has one done by `lbctl run` or by this process.

The rule: an operation is `function(context, **arguments) → document`; arguments and document are what JSON can write.
Nothing is printed here. Modules are imported when they are called, so that `lbctl --help` stays quick.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from cli.operations.context import Context, may_administer, passing_context, require_root, run_directory
from cli.operations.error import OperationError
from cli.operations.remote import ask

Document = Any
"""What JSON can write; the shapes are in cli/operations/documents.py."""

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """Where an operation's function is. reads_file: argument `path` is a file, whose text goes along as `text`.

    needs_root: it speaks to the kernel. unless_kernelless: but takes no root where all listeners, in force and in the
    file, are of modes that need no kernel. needs_run: only the process of `lbctl run` can do it. pure: it works on
    values alone and is never asked of another process.
    """

    module: str
    function: str
    reads_file: bool = False
    needs_root: bool = True
    unless_kernelless: bool = False
    needs_run: bool = False
    pure: bool = False

    def load(self) -> Callable[..., Document]:
        """The function itself."""
        function: Callable[..., Document] = getattr(import_module(self.module), self.function)
        return function


OPERATIONS: dict[str, Operation] = {
    "plan": Operation("cli.operations.plan", "plan", reads_file=True, unless_kernelless=True),
    "apply": Operation("cli.operations.apply", "apply", reads_file=True, unless_kernelless=True),
    "confirm": Operation("cli.operations.confirm", "confirm"),
    "rollback": Operation("cli.operations.rollback", "rollback"),
    "flush": Operation("cli.operations.flush", "flush"),
    "refresh": Operation("cli.operations.refresh", "refresh"),
    "status": Operation("cli.operations.status", "status", unless_kernelless=True),
    "flows": Operation("cli.operations.flows", "flows", unless_kernelless=True),
    "explain": Operation("cli.operations.explain", "explain", unless_kernelless=True),
    "drain": Operation("cli.operations.admin", "drain", unless_kernelless=True),
    "enable": Operation("cli.operations.admin", "enable", unless_kernelless=True),
    "disable": Operation("cli.operations.admin", "disable", unless_kernelless=True),
    "weight": Operation("cli.operations.admin", "weight", unless_kernelless=True),
    "active": Operation("cli.operations.admin", "active", unless_kernelless=True),
    "doctor": Operation("cli.operations.doctor", "doctor"),
    "export": Operation("cli.operations.export", "export", reads_file=True, needs_root=False, pure=True),
}


def perform(name: str, arguments: Arguments, environment: Mapping[str, str] | None = None) -> Document:
    """Has the operation done by the process of `lbctl run` if one answers, else by this one. Raises OperationError.

    A file is given as argument `path`; it is read here, so that both sides work on the same text.
    """
    operation = OPERATIONS[name]
    where = os.environ if environment is None else environment
    if operation.pure:
        return operation.load()(**with_text(operation, arguments))
    socket = run_directory(where) / "control.sock"
    if socket.exists():
        answered, document = ask(socket, name, with_text(operation, arguments))
        if answered:
            return document
    if operation.needs_run:
        raise OperationError(f"lbctl {name} asks the process of `lbctl run`, and none answers at {socket}")
    if operation.needs_root:
        arguments = _permitted(operation, name, arguments, where)
    with collecting_no_garbage(), passing_context(where) as context:
        return perform_here(context, name, with_text(operation, arguments))


def _permitted(operation: Operation, name: str, arguments: Arguments, where: Mapping[str, str]) -> Arguments:
    """The arguments, with the file's text where it was looked at. Raises OperationError where this takes root."""
    if not operation.unless_kernelless or may_administer():
        require_root(name)
        return arguments
    from cli.operations.rights import asks_the_kernel
    from cli.state import Remembered

    try:
        given = with_text(operation, arguments)
    except OperationError:
        require_root(name)
        raise
    if asks_the_kernel(where, Remembered(given["text"], given["path"]) if operation.reads_file else None):
        require_root(name)
    return given


@contextmanager
def collecting_no_garbage() -> Iterator[None]:
    """Looking for garbage among ten thousand listeners, where there is none, takes a third of an operation's time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def perform_here(context: Context, name: str, arguments: Arguments) -> Document:
    """Does the operation in this process, and notes what changed in the log of events. Raises OperationError."""
    from cli.operations.refusal import told

    try:
        with told():
            document = OPERATIONS[name].load()(context, **arguments)
    except OperationError as error:
        _note(context, name, arguments, error)
        raise
    _note(context, name, arguments, document)
    return document


def _note(context: Context, name: str, arguments: Arguments, outcome: Document | OperationError) -> None:
    from cli import events
    from cli.operations.news import TOLD, failure_of, news_of

    if name not in TOLD:
        return
    if isinstance(outcome, OperationError):
        found = failure_of(name, arguments, str(outcome))
    else:
        found = news_of(name, arguments, outcome)
    for event, fields in found:
        events.append(context.state.directory, context.now(), event, **fields)


def with_text(operation: Operation, arguments: Arguments) -> Arguments:
    """The arguments with the file's text and its absolute path, where the operation reads a file."""
    if not operation.reads_file or "text" in arguments:
        return arguments
    from cli.config.errors import ConfigError
    from cli.config.reading import given_text

    try:
        text = given_text(arguments["path"])
    except ConfigError as error:
        raise OperationError(str(error), exit=2, lines=error.lines) from None
    return {**arguments, "path": str(Path(arguments["path"]).absolute()), "text": text}
