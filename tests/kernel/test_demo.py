"""The commands that people try first: every scene of the demo, and the lab."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dns
import pytest

from cli.lab import abandoned, namespaces, place
from cli.lab.plan import NODES
from tests.lab import LBCTL

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]


def lbctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LBCTL, *arguments], capture_output=True, text=True, check=False, timeout=300)


def test_a_scene_for_programs() -> None:
    done = lbctl("--json", "demo", "http")
    assert done.stderr == ""
    (report,) = json.loads(done.stdout)["scenes"]
    assert [claim for claim in report["claims"] if not claim["observed"]] == []
    assert len(report["claims"]) >= 2
    assert done.returncode == 0


@pytest.mark.parametrize("made", range(1, len(NODES) + 1))
@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGINT])
def test_nothing_of_a_demo_is_left_when_it_is_ended(ended_by: signal.Signals, made: int) -> None:
    process = subprocess.Popen([LBCTL, "demo", "nat"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    prefix = f"lbctl-demo-{process.pid}-"
    deadline = time.monotonic() + 20
    while len(namespaces.names(prefix)) < made and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(ended_by)
    assert process.communicate(timeout=60)[1].strip() == b""
    assert process.returncode not in (0, -ended_by)
    assert namespaces.names(prefix) == []
    assert not list(place.DIRECTORY.glob(f"{prefix}*"))


def test_lab_down_takes_away_what_a_killed_demo_left() -> None:
    process = subprocess.Popen([LBCTL, "demo", "nat"], stdout=subprocess.DEVNULL)
    prefix = f"lbctl-demo-{process.pid}-"
    deadline = time.monotonic() + 20
    while len(namespaces.names(prefix)) < len(NODES) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert namespaces.names(prefix)
    abandoned.remove()
    assert namespaces.names(prefix) == []


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(("lab", "exec", "nobody", "true"), 2), (("lab", "exec"), 2), (("lab", "sideways"), 2), (("demo", "opera"), 2)],
)
def test_wrong_usage(arguments: tuple[str, ...], status: int) -> None:
    done = lbctl(*arguments)
    assert done.returncode == status
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("sh", "-c", "true"), ("--", "sh", "-c", "true"), ("true", "--json")])
def test_options_after_the_node_are_the_program_s_own(words: tuple[str, ...]) -> None:
    done = lbctl("lab", "exec", "nobody", *words)
    assert (done.returncode, "has no node 'nobody'" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("scene", ["nat", "http"])
def test_a_checkout_that_only_root_can_read(scene: str, tmp_path: Path) -> None:
    """As below /root, or a home directory of Debian's: workers that gave up root import nothing from there."""
    tmp_path.chmod(0o700)
    for package in (ROOT / "lb4", ROOT / "lb7", ROOT / "cli", Path(dns.__path__[0])):
        shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "cli", "demo", scene]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_host_whose_resolver_leads_nowhere(tmp_path: Path) -> None:
    """As where systemd-resolved does not run: /etc/resolv.conf is a link to a file that is not there."""
    etc = tmp_path / "etc"
    script = f"""
        cp -a /etc {etc} && ln -sf ../run/nowhere/resolv.conf {etc}/resolv.conf && mount --bind {etc} /etc &&
        {LBCTL} demo http && test -L /etc/resolv.conf"""
    done = subprocess.run(["unshare", "--mount", "sh", "-ec", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
