"""Under a service manager: the unit is valid, what it forbids is not needed, and what it waits for is said."""

from __future__ import annotations

import configparser
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.run.files import ECHO, TERMINATED, WEB, everything
from tests.run.load import Connections, Requests
from tests.run.running import Run, until

pytestmark = pytest.mark.root

UNIT = Path(__file__).parents[2] / "packaging" / "lbctl.service"
NO_NEW_CODE = (
    "import ctypes, os, sys; assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0; os.execvp(sys.argv[1], sys.argv[1:])"
)
"""PR_SET_MDWE (linux/prctl.h): what MemoryDenyWriteExecute= asks for."""


def setting(name: str) -> str:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return parser["Service"][name]


def test_the_unit_is_valid(tmp_path: Path) -> None:
    program = tmp_path / "lbctl"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "lbctl.service"
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/lbctl", str(program)))
    judged = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    ours = [line for line in judged.stderr.splitlines() if "lbctl" in line]
    assert (judged.returncode, ours) == (0, []), judged.stderr


def test_what_the_unit_forbids_is_not_needed(run: Run, lab: Lab) -> None:
    """Its capabilities, no new privileges, a file system that is read-only but for its own directories."""
    assert setting("NoNewPrivileges") == setting("MemoryDenyWriteExecute") == "yes"
    assert setting("ProtectSystem") == "strict"
    capabilities = [f"+{name.removeprefix('CAP_').lower()}" for name in setting("CapabilityBoundingSet").split()]
    own = [run.directory / name for name in ("run", "state")]
    for directory in own:
        directory.mkdir()
    mounting = " && ".join(
        [
            *(f"mount --bind {directory} {directory}" for directory in own),
            "mount -o remount,bind,ro /",
            'exec "$@"',
        ]
    )
    run.file(everything())
    run.start_by(
        *("unshare", "--mount", "sh", "-c", mounting, "sh"),
        *("setpriv", f"--bounding-set=-all,{','.join(capabilities)}", "--inh-caps=-all", "--no-new-privs"),
        *(sys.executable, "-c", NO_NEW_CODE),
    )
    status = Path(f"/proc/{run.process.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert until(lambda: set(run.health("echo").values()) == {"up"})
    run.do("drain", service="echo", backend="10.0.2.2:9000")
    run.reload(everything(count=2))
    Requests(lab, WEB, kept=False).turn()
    for port in (ECHO, TERMINATED):
        Connections(lab, port).turn()
    for pids in run.workers().values():
        for pid in pids:
            assert re.search(r"^Uid:\t65534\t65534\t65534\t65534$", Path(f"/proc/{pid}/status").read_text(), re.M)
    run.stop()


@contextmanager
def manager(path: Path) -> Iterator[socket.socket]:
    """The socket that a service manager listens at."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(20)
        yield sock


def heard(sock: socket.socket, wanted: str) -> list[str]:
    """All that is said up to a message that starts so."""
    said: list[str] = []
    while not (said and said[-1].startswith(wanted)):
        said.append(sock.recv(1000).decode())
    return said


def test_what_the_service_manager_is_told(run: Run) -> None:
    run.file(everything())
    with manager(run.directory / "notify") as sock:
        run.start_by("env", NOTIFY_SOCKET=str(run.directory / "notify"), WATCHDOG_USEC="400000")
        assert heard(sock, "READY=1")[-1] == f"READY=1\nMAINPID={run.process.pid}"
        heard(sock, "WATCHDOG=1")
        run.process.send_signal(signal.SIGHUP)
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", heard(sock, "RELOADING=1")[-1])
        heard(sock, "READY=1")
        heard(sock, "WATCHDOG=1")
        # A supervisor that hangs gives no sign of life: that is what the watchdog is for.
        run.process.send_signal(signal.SIGSTOP)
        sock.settimeout(1.5)
        with pytest.raises(TimeoutError):
            heard(sock, "a word that is never said")
        run.process.send_signal(signal.SIGCONT)
        sock.settimeout(20)
        heard(sock, "WATCHDOG=1")
        run.process.terminate()
        heard(sock, "STOPPING=1")
        assert run.process.wait(20) == 0
