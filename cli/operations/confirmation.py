"""An apply that waits for `lbctl confirm`: a process of its own that rolls back when the time is over.

The rule: the process runs before the kernel is changed, so that no moment is without it. `confirm.json` in the run
directory names it; whoever removes that file under the lock has decided.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from cli.operations.context import Context
from cli.operations.error import OperationError
from cli.state import written


@dataclass(frozen=True, slots=True)
class Pending:
    """The waiting process, when it was started (clock ticks since boot, which tell it from a later one of the same
    id), and when it acts, on the monotonic clock. before: a digest of what was in force when it began to wait.
    """

    pid: int
    started: int
    until: float
    before: str

    @property
    def seconds_left(self) -> float:
        """Seconds until it rolls back."""
        return max(0.0, self.until - time.monotonic())


def pending(context: Context) -> Pending | None:
    """The apply that waits for confirmation, None if none does."""
    try:
        record = json.loads(_file(context).read_text())
        found = Pending(int(record["pid"]), int(record["started"]), float(record["until"]), str(record["before"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if started_at(found.pid) == found.started else None


def is_without_effect(context: Context, found: Pending) -> bool:
    """Whether still the same is in force: the file had been applied before, or the apply was killed too early."""
    return _in_force(context) == found.before


def refuse_while_pending(context: Context) -> None:
    """Raises OperationError where an apply waits for confirmation."""
    found = pending(context)
    if found is not None:
        raise OperationError(
            f"an apply waits for confirmation and is undone in {found.seconds_left:.0f} s: "
            "`lbctl confirm` keeps it, `lbctl rollback` undoes it now"
        )


@contextmanager
def awaited(context: Context, seconds: float | None) -> Iterator[None]:
    """What is done inside is undone after so many seconds unless it is confirmed; None: it is not."""
    if seconds is None:
        yield
        return
    found = _start(context, seconds)
    try:
        yield
    except BaseException:
        cancel(context, found)
        raise


def cancel(context: Context, found: Pending) -> None:
    """Ends the waiting process: what was applied stays as it is."""
    forget(context)
    if started_at(found.pid) == found.started:
        os.kill(found.pid, signal.SIGTERM)


def forget(context: Context) -> None:
    """Removes the record: nothing waits any more."""
    _file(context).unlink(missing_ok=True)


def _start(context: Context, seconds: float) -> Pending:
    command = [sys.executable, "-P", "-m", "cli.operations.deadline", str(seconds)]
    where = {
        **os.environ,
        "LBCTL_RUN_DIR": str(context.run_dir.absolute()),
        "LBCTL_STATE_DIR": str(context.state.directory.absolute()),
    }
    try:
        told = subprocess.run(
            command, env=where, cwd="/", start_new_session=True, stdout=subprocess.PIPE, check=True, timeout=30
        )
        pid = int(told.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        raise OperationError("the process that would undo the apply does not start; nothing was changed") from None
    found = Pending(pid, started_at(pid) or 0, time.monotonic() + seconds, _in_force(context))
    _write(context, found)
    return found


def _write(context: Context, found: Pending) -> None:
    path = _file(context)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(".confirm.json.new")
        fresh.write_text(json.dumps(asdict(found)))
        fresh.rename(path)
    except OSError as error:
        os.kill(found.pid, signal.SIGTERM)
        raise OperationError(f"cannot write {path}: {error.strerror}; nothing was changed") from None


def _in_force(context: Context) -> str:
    """A digest of what was applied, empty where nothing was."""
    applied = context.state.applied()
    return "" if applied is None else sha256(written(applied).encode()).hexdigest()


def _file(context: Context) -> Path:
    return context.run_dir / "confirm.json"


def started_at(pid: int) -> int | None:
    """When a live process was started, in clock ticks since boot (proc(5), /proc/PID/stat field 22)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])
