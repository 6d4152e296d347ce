"""Start, reload, end: what is said, what is in force, and that no request is lost."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from cli.lab.plan import BALANCER, LISTEN4
from tests.lab import LBCTL, Lab
from tests.run.files import ECHO, TERMINATED, WEB, everything, http, nat
from tests.run.load import Connections, Echoes, Load, Requests
from tests.run.running import Run, until

pytestmark = pytest.mark.root


def test_a_broken_file_keeps_the_old_one(run: Run, lab: Lab) -> None:
    run.start(nat())
    before = run.do("status")
    run.file("version: 1\nlisteners: {echo: {bind: nowhere}}\n")
    run.hang_up()
    assert run.says(r"error the old configuration stays in force file=\S+lb.yaml .*does not validate")
    assert run.says(r"error .*lb\.yaml:2")
    assert lab.who("tcp", (LISTEN4, ECHO))
    assert [s["name"] for s in run.do("status")["services"]] == [s["name"] for s in before["services"]]
    Path(run.directory / "lb.yaml").unlink()
    run.hang_up()
    assert run.says(r"error the old configuration stays in force .*No such file")
    run.reload(nat(count=2))
    assert len(run.health("echo")) == 2


def test_a_reload_loses_nothing(run: Run, lab: Lab) -> None:
    run.start(everything())
    askers = [Requests(lab, WEB), Requests(lab, WEB, kept=False), Connections(lab, ECHO), Connections(lab, TERMINATED)]
    with Load(*askers, Echoes(lab, ECHO), Echoes(lab, TERMINATED)) as load:
        load.flows(100)
        run.reload(everything(check="scheduler: least-connections"))
        load.flows(100)
        run.reload(everything())
        load.flows(100)
        # As a person would: another file altogether, by `lbctl apply`.
        done = run.command("apply", run.file(everything(check="scheduler: random")))
        assert done.returncode == 0, done.stderr
        load.flows(100)
    assert not load.lost, load.lost


def test_the_end_drains(run: Run, lab: Lab) -> None:
    run.start(everything())
    kept = Requests(lab, WEB)
    kept.turn()
    with lab.connect("tcp", (LISTEN4, WEB)) as slow, lab.connect("tcp", (LISTEN4, TERMINATED)) as open_one:
        slow.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na")
        assert open_one.recv(100).startswith(b"server")
        run.process.terminate()
        assert run.says("stopping")
        assert until(lambda: refused(lab, WEB))
        slow.send(b"b")
        assert slow.recv(1000).startswith(b"HTTP/1.1 200")
        open_one.send(b"still")
        assert open_one.recv(100) == b"still"
    kept.close()
    assert run.process.wait(10) == 0
    assert not (run.directory / "run" / "control.sock").exists()
    assert lab.who("tcp", (LISTEN4, ECHO))


def refused(lab: Lab, port: int) -> bool:
    try:
        lab.connect("tcp", (LISTEN4, port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_second_run_is_refused(run: Run) -> None:
    run.start(nat())
    done = run.command("run", str(run.directory / "lb.yaml"))
    assert done.returncode == 1
    assert f"another `lbctl run` (pid {run.process.pid})" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_in_use_changes_nothing(run: Run, lab: Lab) -> None:
    run.start(http())
    with lab.inside(BALANCER):
        import socket

        taken = socket.create_server((str(LISTEN4), 8099))
    with taken:
        more = http().replace(
            "services:", f'  more: {{bind: "{LISTEN4}:8099", mode: terminate, service: web}}\nservices:'
        )
        done = run.command("apply", run.file(more))
    assert done.returncode == 1
    assert "listener more" in done.stderr
    assert "another program listens there" in done.stderr
    assert [each["name"] for each in run.do("status")["listeners"]] == ["web"]
    Requests(lab, WEB, kept=False).turn()


# The interpreter may lie in root's home: who may read all files may start it.
READS_ALL = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", *READS_ALL]


def test_a_file_of_processes_alone_is_applied_without_root(lab: Lab, tmp_path: Path) -> None:
    """And no other: with listeners of the kernel in force or asked for, and with nothing known, it takes root."""
    own = tmp_path / "own"
    own.mkdir()
    os.chown(own, 65534, 65534)
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    environment = {**os.environ, "LBCTL_RUN_DIR": f"{own}/run", "LBCTL_STATE_DIR": f"{own}/state"}
    (tmp_path / "nat.yaml").write_text(nat())

    def lbctl(*words: str, text: str = "") -> tuple[int, str]:
        command = [*AS_NOBODY, LBCTL, *words]
        with lab.inside(BALANCER):
            done = subprocess.run(
                command, env=environment, capture_output=True, input=text, text=True, timeout=30, check=False
            )
        return done.returncode, done.stdout + done.stderr

    assert lbctl("status")[0] == 1
    assert lbctl("plan", "--exit-code", "-", text=http())[0] == 1
    status, said = lbctl("apply", "-", text=http())
    assert (status, "needs `lbctl run`" in said) == (0, True), said
    assert lbctl("plan", "--exit-code", "-", text=http())[0] == 0
    for words in (("status",), ("flows",), ("drain", "web", "10.0.1.2:8080"), ("enable", "web", "10.0.1.2:8080")):
        assert lbctl(*words)[0] == 0, words
    for words in (("apply", str(tmp_path / "nat.yaml")), ("apply", "none.yaml"), ("rollback",), ("flush",)):
        status, said = lbctl(*words)
        assert (status, "takes root" in said) == (1, True), said


def test_http_alone_needs_no_root(lab: Lab, tmp_path: Path) -> None:
    """As nobody, on a port that anybody may have, without a place to write but its own."""
    own = tmp_path / "own"
    own.mkdir()
    os.chown(own, 65534, 65534)
    file = tmp_path / "lb.yaml"
    file.write_text(http().replace(f"{LISTEN4}:{WEB}", f"{LISTEN4}:8000"))
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    environment = {**os.environ, "LBCTL_RUN_DIR": f"{own}/run", "LBCTL_STATE_DIR": f"{own}/state"}
    with lab.inside(BALANCER), (own / "log").open("wb") as log:
        process = subprocess.Popen([*AS_NOBODY, LBCTL, "run", str(file)], env=environment, stderr=log)
    try:
        said = own / "log"
        assert until(lambda: " ready " in said.read_text() or process.poll() is not None)
        assert process.poll() is None, said.read_text()
        Requests(lab, 8000, kept=False).turn()
        with lab.inside(BALANCER):
            command = [*AS_NOBODY, LBCTL, "--json", "status"]
            told = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=30)
        assert [each["name"] for each in json.loads(told.stdout)["services"]] == ["web"]
    finally:
        process.terminate()
        ended = process.wait(20)
    assert ended == 0
