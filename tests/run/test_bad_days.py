"""A full disk, clocks that jump, a thousand changes, a configuration directory that is swapped."""

from __future__ import annotations

import ast
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from cli.lab.plan import LISTEN4
from cli.operations.error import OperationError
from tests.lab import Lab
from tests.run.files import ECHO, TERMINATED, WEB, everything, nat
from tests.run.load import Connections, Echoes, Load, Requests
from tests.run.running import Run, until
from tests.run.switch import Switch

ROOT = Path(__file__).parents[2]
BACKEND = {"service": "echo", "backend": "10.0.2.2:9000"}
CHANGES = int(os.environ.get("LBCTL_TEST_CHANGES", "40"))
"""Of the other services, at the pace of a thousand in a minute; LBCTL_TEST_CHANGES=1000 has them all."""


@pytest.mark.root
def test_a_full_disk(run: Run, lab: Lab, switch: Switch) -> None:
    """What the operator wants is refused whole; what is in force goes on, and checks still reach the kernel."""
    state = run.directory / "state"
    state.mkdir()
    run.file(nat())
    mounting = f'mount -t tmpfs -o size=64k tmpfs {state} && exec "$@"'
    run.start_by("unshare", "--mount", "sh", "-c", mounting, "sh")
    disk = Path(f"/proc/{run.process.pid}/root{state}")
    assert (disk / "applied.yaml").exists()
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(b"x" * 4096):
            pass
    for name, arguments in (("drain", BACKEND), ("apply", {"path": run.file(nat(count=2))})):
        with pytest.raises(OperationError, match=r"cannot write .*No space left on device"):
            run.do(name, **arguments)
    assert len(run.health("echo")) == 3
    assert {b["admin"] for s in run.do("status")["services"] for b in s["backends"]} == {"enabled"}
    switch.off("server3")
    assert until(lambda: run.health("echo")["10.0.3.2:9000"] == "down")
    assert "server3" not in lab.turns("tcp", (LISTEN4, ECHO), 6)
    (disk / "filler").unlink()
    assert run.do("drain", **BACKEND)["admin"] == "draining"


@pytest.mark.root
def test_many_changes_cost_the_others_nothing(run: Run, lab: Lab) -> None:
    """Changes to one service; clients of the others notice none."""
    run.start(everything() + other(1))
    askers = [Requests(lab, WEB), Requests(lab, WEB, kept=False), Connections(lab, ECHO), Connections(lab, TERMINATED)]
    with Load(*askers, Echoes(lab, ECHO), Echoes(lab, TERMINATED), pause=0.01) as load:
        begun = time.monotonic()
        for number in range(CHANGES):
            path = run.file(everything() + other(number))
            assert run.do("apply", path=path)["changes"]
            time.sleep(max(0.0, begun + number * 0.06 - time.monotonic()))
        load.flows(50)
    assert not load.lost, load.lost


def other(number: int) -> str:
    """One more service, whose backend differs from change to change."""
    return f"""  other: {{backends: ["10.0.1.2:{7000 + number}"]}}
  more: {{backends: ["10.0.2.2:{7000 + number}"], scheduler: random}}
"""


@pytest.mark.root
def test_a_directory_that_is_swapped(run: Run, lab: Lab) -> None:
    """The file is reached through a link to a directory; another directory is linked in its place, in one step."""
    for number in (1, 2):
        version = run.directory / f"v{number}"
        version.mkdir()
        (version / "lb.yaml").write_text(nat(count=number))
    link = run.directory / "current"
    link.symlink_to("v1")
    (run.directory / "lb.yaml").symlink_to("current/lb.yaml")
    run.start_by("env")
    assert len(run.health("echo")) == 1
    fresh = run.directory / "fresh"
    fresh.symlink_to("v2")
    fresh.rename(link)
    run.hang_up()
    assert run.says(" reloaded ")
    assert len(run.health("echo")) == 2


BY_THE_WALL = {
    # Told to people, or compared with times that others wrote down.
    *("context.py", "log.py", "access_log.py", "listener_state.py"),
    *("jwt_auth.py", "jwt_keys.py", "key_set.py", "fitness.py", "certificates.py", "date.py"),
}
"""The files that may ask what time it is."""
WALL = {("time", "time"), ("time", "time_ns"), ("datetime", "now")}


def test_no_interval_is_taken_by_the_wall_clock() -> None:
    """A clock that jumps changes no interval: the long-running code asks the monotonic one."""
    asking = {
        path.name
        for package in ("lb4", "lb7", "cli/run", "cli/control", "cli/operations", "cli/metrics")
        for path in (ROOT / package).rglob("*.py")
        if asks_the_wall(path)
    }
    assert asking <= BY_THE_WALL


def asks_the_wall(path: Path) -> bool:
    """Whether a file calls time.time, datetime.now or their like."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (node.value.id, node.attr) in WALL:
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "time" and any(n.name == "time" for n in node.names):
            return True
    return False
