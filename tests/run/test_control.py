"""The control socket: the same documents with and without a run, and clients that go away in the middle."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cli import events
from cli.lab.plan import LISTEN4
from cli.operations.error import OperationError
from cli.operations.remote import UnixConnection
from tests.lab import Lab
from tests.run.files import ECHO, nat
from tests.run.running import Run, until

pytestmark = pytest.mark.root

BACKEND = "10.0.2.2:9000"
ONE = {"service": "echo", "backend": BACKEND}
ASKED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("status", {}),
    ("flows", {}),
    ("explain", {"protocol": "tcp", "client": "10.0.0.2:41000", "target": f"{LISTEN4}:{ECHO}"}),
    ("drain", ONE),
    ("plan", {"path": "FILE"}),
    ("weight", {**ONE, "weight": 3}),
    ("status", {"service": "echo"}),
    ("enable", ONE),
    ("weight", {**ONE, "weight": 1}),
    ("disable", ONE),
    ("apply", {"path": "FILE"}),
    ("enable", ONE),
    ("rollback", {}),
    ("drain", {"service": "nothing", "backend": BACKEND}),
    ("weight", {**ONE, "weight": 99999999}),
    ("confirm", {}),
    ("doctor", {}),
    ("flush", {}),
    ("status", {}),
    ("rollback", {}),
)


def told(run: Run) -> list[Any]:
    """What every operation answers, what counts and times aside."""
    file = run.file(nat(more=""))
    seen: list[Any] = []
    for name, arguments in ASKED:
        try:
            document = run.do(name, **{k: file if v == "FILE" else v for k, v in arguments.items()})
        except OperationError as error:
            seen.append((name, str(error), error.exit, error.lines))
        else:
            seen.append((name, settled(json.loads(json.dumps(document)))))
    return seen


def settled(document: Any) -> Any:
    """A document without what a moment decides."""
    if isinstance(document, Mapping):
        names = [finding.get("name") for finding in document.get("findings", ())]
        if names:
            return names
        return {k: settled(v) for k, v in document.items() if k not in ("connections", "packets", "bytes", "active")}
    return [settled(each) for each in document] if isinstance(document, list) else document


def test_every_operation_says_the_same(run: Run) -> None:
    """To who asks, and in the log of events."""
    run.apply(nat(count=2, more=""))
    alone, noted_alone = noting(run)
    run.apply(nat(count=2, more=""))
    run.start(nat(count=2, more=""))
    asked, noted = noting(run)
    for by_itself, by_socket in zip(alone, asked, strict=True):
        assert by_socket == by_itself, f"{by_itself}\n{by_socket}"
    assert noted == noted_alone
    assert {"apply", "rollback", "flush", "drain", "enable", "disable", "weight", "failed"} <= {
        e["event"] for e in noted
    }


def noting(run: Run) -> tuple[list[Any], list[dict[str, object]]]:
    """What the operations answer, and the events that they leave, without their times."""
    directory = run.directory / "state"
    before = len(events.read(directory))
    answers = told(run)
    return answers, [{k: v for k, v in e.items() if k != "time"} for e in events.read(directory)[before:]]


def test_a_client_that_goes_away(run: Run, lab: Lab) -> None:
    """In the middle of its request, and of the answer: the operation is done whole or not at all."""
    run.start(nat())
    path = run.directory / "run" / "control.sock"
    for cut in (b"POST /v1/dr", b"POST /v1/drain HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n{"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.send(cut)
    body = json.dumps({"service": "echo", "backend": BACKEND})
    connection = UnixConnection(path)
    connection.request("POST", "/v1/drain", body, {"Content-Type": "application/json"})
    connection.close()
    assert until(lambda: admin(run) == "draining")
    assert run.command("enable", "echo", BACKEND).returncode == 0
    assert admin(run) == "enabled"
    assert lab.who("tcp", (LISTEN4, ECHO))


def admin(run: Run) -> str:
    (service,) = run.do("status")["services"]
    return str(next(b["admin"] for b in service["backends"] if b["address"] == BACKEND))


def test_what_is_no_request_is_refused(run: Run) -> None:
    run.start(nat())
    path = run.directory / "run" / "control.sock"
    cases = [
        ("/v1/nothing", "{}", 404),
        ("/v1/drain", "[]", 400),
        ("/v1/drain", "{", 400),
        ("/v1/drain", "{}", 400),
        ("/v1/drain", '{"service": "echo", "backend": "x"}', 409),
        ("/v1/apply", '{"path": "x", "text": "version: 2"}', 422),
    ]
    for target, body, status in cases:
        connection = UnixConnection(path)
        connection.request("POST", target, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        document = json.loads(answer.read())
        connection.close()
        assert answer.status == status, (target, body, document)
        assert document["error"]
    assert path.stat().st_mode & 0o777 == 0o660
    connection = UnixConnection(path)
    connection.request("GET", "/v1/openapi.json")
    described = json.loads(connection.getresponse().read())
    connection.close()
    assert "/v1/drain" in described["paths"]


def test_a_run_directory_however_deep(lab: Lab, tmp_path: Path) -> None:
    """Deeper than the path of a socket may be long."""
    deep = tmp_path / ("a" * 120)
    deep.mkdir()
    run = Run(lab, deep)
    try:
        run.start(nat(more=""))
        assert run.command("drain", "echo", BACKEND).returncode == 0
        assert run.says("drain service=echo")
        run.stop()
        assert not (deep / "run" / "control.sock").exists()
    finally:
        run.close()
