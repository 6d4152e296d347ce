"""The README's commands do what it says they do."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.lab import build, place

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LOCK = Path("/run/lock/lbctl-tests-lab")


@pytest.fixture
def own_lab() -> Iterator[None]:
    """The lab of `lbctl lab` for this test alone: other runs wait, and a lab that somebody uses is left alone."""
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if build.is_up(place.LAB):
            pytest.skip("a lab is up; this test would take it down")
        yield
        build.down(place.LAB)
        place.clear(place.LAB)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def steps(block: str) -> list[tuple[str, str]]:
    """(command, what it prints as far as it is shown) of a console block."""
    parts = [part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [(command, shown) for command, _, shown in parts]


def test_the_first_configuration_is_the_example() -> None:
    assert blocks("yaml") == [(ROOT / "packaging/examples/first.yaml").read_text()]


@pytest.mark.root
def test_the_commands_do_what_is_shown(own_lab: None) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    commands = [step for block in blocks("console") for step in steps(block)]
    assert len(commands) > 10
    for command, shown in commands:
        words = shlex.split(command.removeprefix("sudo "))
        done = subprocess.run(
            words, cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, (command, done.stderr)
        assert shown in ("", done.stdout), command


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)]+)\)", README))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ([a-z]+)", README))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
