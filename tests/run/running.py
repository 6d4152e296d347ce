"""`lbctl run` as a process in the lab's balancer: started, watched by what it says, killed in parts."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL, Popen

from cli.lab.plan import BALANCER
from tests.lab import LBCTL, Balancer, Lab

PATIENCE = 20.0


def until(true: Callable[[], object], patience: float = PATIENCE) -> bool:
    """Whether it became true in time."""
    deadline = time.monotonic() + patience
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Run(Balancer):
    """One `lbctl run` after the other, on the same directories."""

    process: Popen[bytes]

    def __init__(self, lab: Lab, directory: Path) -> None:
        super().__init__(lab, directory)
        (directory / "run.log").touch()

    def start(self, text: str) -> None:
        """Starts it and waits until it is ready."""
        said = self.log().count(" ready ")
        self.process = self.run(text)
        assert until(lambda: self.log().count(" ready ") > said or self.process.poll() is not None), self.log()
        assert self.process.poll() is None, self.log()

    def start_by(self, *words: str, **environment: str) -> None:
        """The same, with words before the command, which become it by exec."""
        said = self.log().count(" ready ")
        with self.lab.inside(BALANCER), (self.directory / "run.log").open("ab") as log:
            self.process = Popen(
                [*words, LBCTL, "run", str(self.directory / "lb.yaml")],
                env=os.environ | self.environment | environment,
                stdin=DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        self._runs.append(self.process)
        assert until(lambda: self.log().count(" ready ") > said or self.process.poll() is not None), self.log()
        assert self.process.poll() is None, self.log()

    def log(self) -> str:
        return (self.directory / "run.log").read_text()

    def says(self, pattern: str, patience: float = PATIENCE) -> bool:
        """Whether the log holds a line of this pattern, soon."""
        return until(lambda: re.search(pattern, self.log()), patience)

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def reload(self, text: str) -> None:
        """A new file, a SIGHUP, and the wait until it is in force."""
        said = self.log().count(" reloaded ")
        self.file(text)
        self.hang_up()
        assert until(lambda: self.log().count(" reloaded ") > said), self.log()

    def workers(self) -> dict[str, list[int]]:
        """The ids of the worker processes by the module they run."""
        found: dict[str, list[int]] = {}
        for pid in children(self.process.pid):
            words = command_line(pid)
            if words[1:2] == [b"-m"]:
                found.setdefault(words[2].decode().rpartition("run.")[2], []).append(pid)
        return found

    def kill_supervisor(self) -> None:
        """As the kernel does when memory runs out."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and the wait until it is gone."""
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0, self.log()

    def health(self, service: str) -> dict[str, str]:
        """Health by backend."""
        (found,) = (s for s in self.do("status")["services"] if s["name"] == service)
        return {b["address"]: b["health"] for b in found["backends"]}


def children(pid: int) -> list[int]:
    """The ids of a process's children."""
    tasks = Path(f"/proc/{pid}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def command_line(pid: int) -> list[bytes]:
    """A process's arguments; none where it has ended since it was listed."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
