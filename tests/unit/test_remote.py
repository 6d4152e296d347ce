"""Asking the process of `lbctl run` over its socket: answers, refusals, and a socket nobody serves."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.operations import perform
from cli.operations.error import OperationError
from cli.operations.remote import ask


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    """A socket that gives one client this answer; what the client sent."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                asked.append(connection.recv(65536))
                while not asked[0].endswith(b"}"):  # head and body come one after the other
                    asked[0] += connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        thread.join(10)


def response(status: int, document: object) -> bytes:
    body = json.dumps(document).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


def test_a_document(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with answering(path, response(200, [1, 2])) as asked:
        assert ask(path, "flows", {"service": "web"}) == (True, [1, 2])
    head, _, body = asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/flows HTTP/1.1\r\n")
    assert json.loads(body) == {"service": "web"}


def test_a_refusal_is_raised_as_if_it_had_happened_here(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    refused = response(422, {"error": "lb.yaml does not validate", "exit": 2, "lines": ["lb.yaml:3: no"]})
    with answering(path, refused), pytest.raises(OperationError, match="does not validate") as raised:
        ask(path, "apply", {})
    assert (raised.value.exit, raised.value.lines) == (2, ("lb.yaml:3: no",))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"nonsense\r\n\r\n"])
def test_an_answer_that_breaks_off(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "control.sock"
    with answering(path, answer), pytest.raises(OperationError, match="broke off"):
        ask(path, "status", {})


def test_a_socket_that_a_dead_process_left(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert ask(path, "status", {}) == (False, None)
    assert ask(tmp_path / "none.sock", "status", {}) == (False, None)


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot be read: No such file"), (b"\xff\xfe", "not UTF-8"), ("directory", "cannot be read")],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | str | None, told: str) -> None:
    path = tmp_path / "lb.yaml"
    if content == "directory":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(OperationError, match=told) as raised:
        perform("export", {"path": str(path), "format": "nft"}, {"LBCTL_RUN_DIR": str(tmp_path)})
    assert raised.value.exit == 2
