"""kill -9 under load, of each process in turn: what is lost is counted, and it is no more than was in that process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import Lab
from tests.run.files import ECHO, TERMINATED, WEB, everything
from tests.run.load import Connections, Echoes, Load, Requests
from tests.run.running import Run, kill, until

pytestmark = pytest.mark.root


def replaced(run: Run, kind: str, pid: int, count: int) -> bool:
    """Whether a worker was replaced by another."""
    now = run.workers().get(kind, [])
    return len(now) == count and pid not in now


def test_each_worker(run: Run, lab: Lab) -> None:
    """A dead worker costs its own connections; those that wait in its accept queue are served by its successor."""
    run.start(everything())
    kept = [Requests(lab, WEB) for _ in range(3)]
    new = [Requests(lab, WEB, kept=False), Connections(lab, TERMINATED)]
    flows = [Echoes(lab, ECHO), Echoes(lab, ECHO), Connections(lab, ECHO)]
    with Load(*kept, *new) as load, Load(*flows) as kernel:
        load.flows(50)
        for kind in ("lb7.worker", "terminate_worker", "health_worker"):
            count, victim = len(run.workers()[kind]), run.workers()[kind][0]
            kill(victim)
            assert until(lambda: replaced(run, kind, victim, count)), run.log()  # noqa: B023
            load.flows(100)
    assert not kernel.lost, kernel.lost
    # At most what was under way in the worker that died: one request for each client of it.
    assert sum(load.lost.values()) <= len(kept) + len(new), load.lost
    assert run.log().count("a worker ended and is replaced") == 3
    assert until(lambda: set(run.health("echo").values()) == {"up"})


def test_the_supervisor(run: Run, lab: Lab) -> None:
    """nat forwards on and loses nothing; workers end by themselves; the next run takes over what it finds."""
    text = everything()
    run.start(text)
    with Load(Echoes(lab, ECHO), Connections(lab, ECHO)) as kernel:
        kernel.flows(50)
        orphans = [pid for pids in run.workers().values() for pid in pids]
        run.kill_supervisor()
        kernel.flows(100)
        found = handles(run)
        run.start(text)
        kernel.flows(100)
        assert handles(run) == found
        Requests(lab, WEB, kept=False).turn()
        assert until(lambda: not any(alive(pid) for pid in orphans))
    assert not kernel.lost, kernel.lost


def test_all_at_once(run: Run, lab: Lab) -> None:
    """As a machine that runs out of memory does: the whole process group, and nothing of nat is lost."""
    run.start(everything())
    with Load(Echoes(lab, ECHO), Connections(lab, ECHO)) as kernel:
        kernel.flows(50)
        pids = [pid for each in run.workers().values() for pid in each]
        run.kill_supervisor()
        for pid in pids:
            kill(pid)
        kernel.flows(50)
        run.start(everything())
        kernel.flows(50)
    assert not kernel.lost, kernel.lost


def handles(run: Run) -> list[str]:
    """The objects of the table, by handle: an object that was made anew has another."""
    listing = run.nft("-a", "list", "table", "inet", "lbctl").splitlines()
    return [line.rpartition("# handle ")[2] for line in listing if "# handle" in line]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
