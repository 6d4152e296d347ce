"""The commands of the documents do what the documents show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.config.loader import load
from tests.test_readme import ROOT, own_lab, steps

__all__ = ["own_lab"]

PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md") if "\n```console\n" in page.read_text())
READY = {"lbctl run": " ready ", "lbctl trace": "FLOW"}
"""What a command left in the background says when it is there."""
VOLATILE = (
    (r":\d{5}\b", ":PORT"),  # picked by a client's system
    (r"\b\d+(\.\d+)? ?([kKMG]i)?B\b", "SIZE"),
    (r"[+]?\d+(\.\d+)?(us|ms|s)\b", "TIME"),
    (r"[ \t]+", " "),
)
ANYTHING = "…"


def settled(text: str) -> str:
    """The text without what is different each time."""
    for pattern, written in VOLATILE:
        text = re.sub(pattern, written, text)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def is_as_shown(printed: str, shown: str) -> bool:
    """Whether it is what the page shows; `…` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in settled(shown).split(ANYTHING))
    return re.fullmatch(pattern, settled(printed), re.DOTALL) is not None


class Shell:
    """A person's shell: one command after the other, some left in the background."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.background: list[tuple[subprocess.Popen[bytes], Path]] = []
        self.environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def do(self, command: str) -> str:
        """What it prints on standard output."""
        command = command.removeprefix("sudo ")
        if command == "wait":
            return self._wait()
        if command.endswith(" &"):
            self._leave(command.removesuffix(" &"))
            return ""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def _leave(self, command: str) -> None:
        output = self.directory / f"background-{len(self.background)}"
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=ROOT, env=self.environment, stdout=file, stderr=file
            )
        self.background.append((process, output))
        word = next(word for name, word in READY.items() if name in command)
        deadline = time.monotonic() + 30
        while word not in output.read_text():
            assert process.poll() is None, (command, output.read_text())
            assert time.monotonic() < deadline, (command, output.read_text())
            time.sleep(0.05)

    def _wait(self) -> str:
        process, output = self.background.pop()
        assert process.wait(30) == 0, output.read_text()
        return output.read_text()

    def close(self) -> None:
        for process, _ in self.background:
            process.terminate()
            process.wait(30)


@pytest.fixture
def shell(tmp_path: Path, own_lab: None) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.close()


@pytest.mark.root
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_print_what_is_shown(page: Path, shell: Shell) -> None:
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    for command, shown in (step for block in blocks for step in steps(block)):
        printed = shell.do(command)
        assert is_as_shown(printed, shown), f"{command}\n{printed}\nis shown as\n{shown}"


CONFIGURATIONS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in sorted((ROOT / "docs").rglob("*.md"))
    for number, block in enumerate(re.findall(r"^ *```yaml\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE))
    if block.lstrip().startswith("version: 1")
]


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_a_configuration_that_is_shown_validates(text: str) -> None:
    load(textwrap.dedent(text), "shown")
