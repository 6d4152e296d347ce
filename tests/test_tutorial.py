"""The commands of the documents do what the documents show."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

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
END = "what a command printed ends here: "


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
    """A person's shell: one bash, told one command after the other. What runs in the background prints to a file, as in
    a terminal of its own; `wait $!` shows what the last one printed.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.background: list[Path] = []
        self.bash = subprocess.Popen(
            ["bash", "--norc"],
            cwd=ROOT,
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._told('sudo() { "$@"; }')

    def do(self, command: str) -> str:
        """What it prints, on both streams; in the background until it is ready."""
        if command.endswith(" &"):
            return self._left(command.removesuffix(" &"))
        printed = self._told(command)
        return printed + self.background.pop().read_text() if command == "wait $!" else printed

    def _told(self, command: str) -> str:
        assert self.bash.stdin is not None
        assert self.bash.stdout is not None
        self.bash.stdin.write(f"{{ {command}\n}} < /dev/null\nprintf '\\n{END}%d\\n' $?\n")
        self.bash.stdin.flush()
        lines: list[str] = []
        while not (line := self.bash.stdout.readline()).startswith(END):
            assert line, (command, lines)
            lines.append(line)
        printed = "".join(lines)
        assert line.removeprefix(END).strip() == "0", (command, printed)
        return printed

    def _left(self, command: str) -> str:
        output = self.directory / f"background-{len(list(self.directory.iterdir()))}"
        output.touch()
        self._told(f"{command} > {output} 2>&1 &")
        self.background.append(output)
        word = next(word for name, word in READY.items() if name in command)
        deadline = time.monotonic() + 30
        while word not in output.read_text():
            assert time.monotonic() < deadline, (command, output.read_text())
            time.sleep(0.05)
        return output.read_text()

    def close(self) -> None:
        os.killpg(self.bash.pid, signal.SIGTERM)
        self.bash.communicate(timeout=30)


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
        if command.endswith(" &") and not shown:
            continue
        assert is_as_shown(printed, shown), f"{command}\n{printed}\nis shown as\n{shown}"


CONFIGURATIONS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in sorted((ROOT / "docs").rglob("*.md"))
    for number, block in enumerate(re.findall(r"^ *```yaml\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE))
    if re.match(r" *(version|listeners|metrics):", block)
]


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_a_configuration_that_is_shown_validates(text: str) -> None:
    whole = textwrap.dedent(text)
    load(whole if whole.startswith("version:") else f"version: 1\n{whole}", "shown")


def test_the_tutorial_shows_the_example() -> None:
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/tutorial.md").read_text(), re.DOTALL | re.MULTILINE)
    example = yaml.safe_load((ROOT / "packaging/examples/article.yaml").read_text())
    assert yaml.safe_load(shown) == {key: example[key] for key in ("listeners", "services")}
