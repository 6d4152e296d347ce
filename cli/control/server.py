"""The server side of the control socket: HTTP over a Unix socket, JSON in and out.

The rule: POST /v1/<operation> does what the command does, by the same function, one operation at a time; a client that
goes away in the middle changes nothing. Whoever may open the socket may do all of it: its mode is 0660.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from aiohttp import web

from cli.control.openapi import document_of
from cli.operations import OPERATIONS, perform_here
from cli.operations.context import Context
from cli.operations.error import OperationError
from cli.operations.remote import short
from cli.run.log import event

BODY_LIMIT = 64 * 1024 * 1024
SOCKET_MODE = 0o660

Result = TypeVar("Result")


class Owner(Protocol):
    """Whose operations are served."""

    def done(self, name: str, arguments: Mapping[str, Any], document: Any) -> None:
        """Called in the event loop after an operation was carried out."""
        ...

    def refused(self, name: str) -> None:
        """Called in the event loop after one could not be."""
        ...

    def metrics(self) -> str:
        """The text of /metrics."""
        ...


class ControlServer:
    """Serves the operations of one Context."""

    def __init__(self, context: Context, owner: Owner, group: str = "") -> None:
        """group: whose members may use the socket, empty: root's."""
        self._context = context
        self._owner = owner
        self._group = group
        self._one_at_a_time = ThreadPoolExecutor(max_workers=1, thread_name_prefix="operation")
        self._turn = asyncio.Lock()
        self._runner: web.AppRunner | None = None
        self.path = context.run_dir / "control.sock"

    async def start(self) -> None:
        """Opens the socket in place of one that a dead process left. Raises OSError."""
        application = web.Application(client_max_size=BODY_LIMIT)
        application.router.add_post("/v1/{operation}", self._operation)
        application.router.add_get("/v1/openapi.json", self._openapi)
        application.router.add_get("/metrics", self._metrics_text)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await self._runner.setup()
        fresh = self.path.with_name(".control.sock.new")
        fresh.unlink(missing_ok=True)
        with short(fresh) as path:
            await web.UnixSite(self._runner, path).start()
        fresh.chmod(SOCKET_MODE)
        if self._group:
            shutil.chown(fresh, group=self._group)
        fresh.rename(self.path)

    async def stop(self) -> None:
        """Closes the socket and takes its file away."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        if self._runner is not None:
            await self._runner.cleanup()

    def close(self) -> None:
        """Does nothing more, for nobody."""
        self._one_at_a_time.shutdown()

    async def perform(self, name: str, arguments: Mapping[str, Any], first: Callable[[], None] | None = None) -> Any:
        """Does an operation in turn with those of the clients, and `first` right before it. Raises OperationError.

        What follows from it is done before the next one begins, and whether or not somebody still waits for the answer.
        """
        return await asyncio.shield(asyncio.get_running_loop().create_task(self._in_turn(name, arguments, first)))

    async def _in_turn(self, name: str, arguments: Mapping[str, Any], first: Callable[[], None] | None) -> Any:
        def work() -> Any:
            if first is not None:
                first()
            return perform_here(self._context, name, arguments)

        async with self._turn:
            try:
                document = await asyncio.get_running_loop().run_in_executor(self._one_at_a_time, work)
            except BaseException:
                self._owner.refused(name)
                raise
            self._owner.done(name, arguments, document)
        return document

    async def _operation(self, request: web.Request) -> web.Response:
        name = request.match_info["operation"]
        if name not in OPERATIONS:
            return refusal(404, f"there is no operation {name!r}; see /v1/openapi.json", 2)
        try:
            arguments = await request.json()
        except ValueError:
            return refusal(400, "the body is no JSON object of the operation's arguments", 2)
        if not isinstance(arguments, dict):
            return refusal(400, "the body is no JSON object of the operation's arguments", 2)
        return await self._answer(name, arguments)

    async def _answer(self, name: str, arguments: Mapping[str, Any]) -> web.Response:
        try:
            return web.json_response(await self.perform(name, arguments))
        except OperationError as error:
            event(logging.WARNING, "refused", operation=name, why=error)
            status = 422 if error.exit == 2 else 409
            return refusal(status, str(error), error.exit, error.lines)
        except TypeError as error:
            event(logging.WARNING, "an operation was called with wrong arguments", operation=name, error=error)
            return refusal(400, f"{name}: {error}", 2)

    async def _openapi(self, request: web.Request) -> web.Response:
        return web.json_response(document_of(OPERATIONS))

    async def _metrics_text(self, request: web.Request) -> web.Response:
        return web.Response(text=await self.aside(self._owner.metrics), content_type="text/plain", charset="utf-8")

    async def aside(self, work: Callable[[], Result]) -> Result:
        """Has something done between two operations, in their thread."""
        return await asyncio.get_running_loop().run_in_executor(self._one_at_a_time, work)


def refusal(status: int, error: str, exit_status: int, lines: tuple[str, ...] = ()) -> web.Response:
    """The document that the client side raises again as an OperationError."""
    return web.json_response({"error": error, "exit": exit_status, "lines": list(lines)}, status=status)


def prepare(run_dir: Path) -> None:
    """Makes the directory of the socket. Raises OSError."""
    run_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
    if not os.access(run_dir, os.W_OK | os.X_OK):
        raise PermissionError(13, "not writable", str(run_dir))
