"""The start of `lbctl run FILE`: what must be true before the supervisor lives.

The rule: everything that can be wrong is found here and said in one line; one run directory has one run at a time.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import resource
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cli.config.loader import load_file
from cli.config.model import Configuration
from cli.operations.context import Context, local_context, may_administer, run_directory, state_directory
from cli.operations.error import OperationError
from cli.run.log import event, to_events, to_standard_error


def run(path: Path, environment: Mapping[str, str]) -> None:
    """Runs in the foreground until a signal ends it. Raises ConfigError and OperationError when it cannot start."""
    configuration = load_file(path)
    if configuration.needs_kernel and not may_administer():
        raise OperationError("this takes root for nat, gateway and packet listeners (try: sudo lbctl run …)")
    to_standard_error()
    _allow_many_files()
    with temporary_directories(environment) as where, only_one(run_directory(where)):
        to_events(state_directory(where))
        asyncio.run(_supervise(path, configuration, local_context(where)))


def _allow_many_files() -> None:
    """Every connection takes a descriptor: as many as may be had without asking, for the workers too."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _supervise(path: Path, configuration: Configuration, context: Context) -> None:
    from cli.run.supervisor import Supervisor

    await Supervisor(path, configuration, context).run()


@contextmanager
def temporary_directories(environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """The environment, with a directory of our own in place of a default one that this user may not write."""
    defaults = {"LBCTL_RUN_DIR": run_directory({}), "LBCTL_STATE_DIR": state_directory({})}
    missing = {name: default for name, default in defaults.items() if not (environment.get(name) or _writable(default))}
    if not missing:
        yield environment
        return
    with tempfile.TemporaryDirectory(prefix="lbctl-") as own:
        for name, default in missing.items():
            words = "a directory of this run alone is used: other commands find it by this variable"
            event(logging.WARNING, words, variable=f"{name}={own}", instead_of=default)
        yield {**environment, **dict.fromkeys(missing, own)}


def _writable(directory: Path) -> bool:
    nearest = next(parent for parent in (directory, *directory.parents) if parent.exists())
    return os.access(nearest, os.W_OK | os.X_OK)


@contextmanager
def only_one(run_dir: Path) -> Iterator[None]:
    """Holds the run directory's lock. Raises OperationError where another run has it, or it cannot be made."""
    path = run_dir / "run.lock"
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperationError(f"cannot write {path}: {error.strerror}; set LBCTL_RUN_DIR to another place") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        yield
    except BlockingIOError:
        holder = path.read_text().strip() or "?"
        raise OperationError(f"another `lbctl run` (pid {holder}) has {run_dir}; it reloads on `lbctl apply`") from None
    finally:
        os.close(lock)
