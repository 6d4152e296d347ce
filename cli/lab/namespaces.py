"""Network namespaces by name: made, entered, removed; and the processes that live in one.

The rule: entering is a thread's affair and always undone. A process or socket made inside stays inside, and the rest
of the program does not notice. Names stand under /run/netns, as iproute2 has them.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

NAMES = Path("/run/netns")

# linux/sched.h and linux/mount.h
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def names(prefix: str) -> list[str]:
    """The names of the existing namespaces that start with the prefix, sorted."""
    if not NAMES.is_dir():
        return []
    return sorted(entry.name for entry in NAMES.iterdir() if entry.name.startswith(prefix))


def create(name: str) -> None:
    """Makes a namespace of this name. Raises FileExistsError where there is one."""
    _share_names()
    path = NAMES / name
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0))
    try:
        _in_a_thread(lambda: _unshare_and_bind(path))
    except OSError:
        path.unlink()
        raise


def remove(name: str) -> None:
    """Removes a namespace's name; it goes when its last process and socket do. One that is gone is no error."""
    path = NAMES / name
    _libc.umount2(os.fsencode(path), MNT_DETACH)
    with suppress(FileNotFoundError):
        path.unlink()


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Within the block this thread is in the namespace: its new sockets and processes are there."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        enter(name)
        try:
            yield
        finally:
            _call("setns", before, CLONE_NEWNET)
    finally:
        os.close(before)


def enter(name: str) -> None:
    """Moves this thread into the namespace for good. Raises FileNotFoundError where there is none."""
    wanted = os.open(NAMES / name, os.O_RDONLY)
    try:
        _call("setns", wanted, CLONE_NEWNET)
    finally:
        os.close(wanted)


def own_mounts() -> None:
    """Gives this process mounts of its own: what it mounts from now on nobody else sees."""
    _call("unshare", CLONE_NEWNS)
    _call("mount", b"", b"/", b"none", MS_SLAVE | MS_REC, None)


def cover(target: Path, by: Path) -> None:
    """Lets a file be read where another one is. Call own_mounts first."""
    _call("mount", os.fsencode(by), os.fsencode(target), b"none", MS_BIND, None)


def add(target: Path, copied: Path, scratch: Path) -> None:
    """Lets a file be read where none is, or a link that leads nowhere. Call own_mounts first.

    scratch: an empty directory; what becomes of it is seen by this process alone.
    """
    _call("mount", b"tmpfs", os.fsencode(scratch), b"tmpfs", 0, None)
    upper, work = scratch / "upper", scratch / "work"
    upper.mkdir()
    work.mkdir()
    shutil.copy(copied, upper / target.name)
    options = f"lowerdir={target.parent},upperdir={upper},workdir={work}"
    _call("mount", b"overlay", os.fsencode(target.parent), b"overlay", 0, options.encode())


def processes(name: str) -> list[int]:
    """The ids of the processes that are in the namespace."""
    try:
        wanted = (NAMES / name).stat().st_ino
    except FileNotFoundError:
        return []
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _netns(entry) == wanted]


def end_processes(name: str, patience: float = 2.0) -> None:
    """Ends what runs in the namespace: asked first, killed after `patience` seconds."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        for pid in processes(name):
            with suppress(ProcessLookupError):
                os.kill(pid, sent)
        deadline = time.monotonic() + patience
        while _living(name) and time.monotonic() < deadline:
            time.sleep(0.01)


def _living(name: str) -> bool:
    return any(not _is_zombie(pid) for pid in processes(name))


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _netns(process: Path) -> int | None:
    try:
        return (process / "ns/net").stat().st_ino
    except OSError:
        return None


def _share_names() -> None:
    NAMES.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = os.fsencode(NAMES)
    if _libc.mount(b"", path, b"none", MS_SHARED | MS_REC, None) != 0:
        _call("mount", path, path, b"none", MS_BIND | MS_REC, None)
        _call("mount", b"", path, b"none", MS_SHARED | MS_REC, None)


def _unshare_and_bind(path: Path) -> None:
    _call("unshare", CLONE_NEWNET)
    _call("mount", b"/proc/thread-self/ns/net", os.fsencode(path), b"none", MS_BIND, None)


def _in_a_thread(work: Callable[[], None]) -> None:
    failed: list[OSError] = []

    def body() -> None:
        try:
            work()
        except OSError as error:
            failed.append(error)

    thread = Thread(target=body)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def _call(function: str, *arguments: object) -> None:
    if getattr(_libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
