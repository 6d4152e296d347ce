"""Asks the process of `lbctl run` for an operation: HTTP over its Unix socket, JSON in and out.

The rule: POST /v1/<operation> with the arguments gives 200 and the document, or 4xx or 5xx and
`{"error": text, "exit": 1|2, "lines": [text, …]}`, which is raised here as if it had happened here.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from cli.operations.error import OperationError

ANSWER_TIMEOUT = 120.0
"""Seconds to wait for an answer: an apply of ten thousand listeners takes a few."""


SUN_PATH = 108
"""Bytes of a socket's path, the last of them 0: unix(7)."""


@contextmanager
def short(path: Path) -> Iterator[str]:
    """A path of the same socket that the kernel takes, however deep its directory lies. Raises OSError."""
    if len(os.fsencode(path)) < SUN_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


class UnixConnection(HTTPConnection):
    """An HTTP connection to a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_TIMEOUT)
        self.path = path

    def connect(self) -> None:
        """Connects to the socket. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with short(self.path) as path:
            self.sock.connect(path)


def ask(path: Path, name: str, arguments: Mapping[str, Any]) -> tuple[bool, Any]:
    """(True, the document), or (False, None) where nobody listens at the socket. Raises OperationError."""
    with closing(UnixConnection(path)) as connection:
        if not _reached(connection):
            return False, None
        try:
            return True, answer_of(connection, name, arguments)
        except (OSError, HTTPException, ValueError) as error:
            raise OperationError(f"`lbctl run` at {path} broke off without an answer: {error}") from None


def _reached(connection: UnixConnection) -> bool:
    try:
        connection.connect()
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except PermissionError:
        raise OperationError(f"no permission for {connection.path}: run it with sudo") from None
    except OSError as error:
        raise OperationError(f"cannot reach `lbctl run` at {connection.path}: {error.strerror}") from None
    return True


def answer_of(connection: HTTPConnection, name: str, arguments: Mapping[str, Any]) -> Any:
    """The document of one request. Raises OperationError for what the other side refused."""
    body = json.dumps(dict(arguments)).encode()
    connection.request("POST", f"/v1/{name}", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    document = json.loads(response.read())
    if response.status != 200:
        raise OperationError(document["error"], exit=document.get("exit", 1), lines=document.get("lines", ()))
    return document
