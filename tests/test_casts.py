"""The recordings are of today's demo: readable, whole, with each of its claims seen."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from cli.commands.demo import SCENES
from tests.lab import LBCTL

CASTS = Path(__file__).parents[1] / "docs" / "casts"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


DIFFERENT_EACH_TIME = ((r"packets: [SFARPU ]+\b", "packets: FLAGS"), (r"\d+(\.\d+)?", "N"), (r" +", " "))


def printed(scene: str) -> str:
    header, *events = [json.loads(line) for line in (CASTS / f"{scene}.cast").read_text().splitlines()]
    assert header["version"] == 2
    assert [at for at, _, _ in events] == sorted(at for at, _, _ in events)
    return COLOUR.sub("", "".join(text for _, _, text in events)).replace("\r\n", "\n")


def settled(text: str) -> str:
    """The text without ports, times and counts."""
    for pattern, written in DIFFERENT_EACH_TIME:
        text = re.sub(pattern, written, text)
    return text


@pytest.mark.parametrize("scene", SCENES)
def test_every_claim_was_observed(scene: str) -> None:
    text = printed(scene)
    seen, claims = re.findall(r"^(\d+) of (\d+) claims observed\.", text, re.MULTILINE)[-1]
    assert seen == claims == str(text.count("✓"))
    assert "✗" not in text


@pytest.mark.parametrize("scene", SCENES)
def test_it_has_the_claims_of_the_scene(scene: str) -> None:
    source = inspect.getsource(import_module(f"cli.demo.{scene}"))
    claims = re.findall(r'claim\(\s*"([^"]+)", (?!False)', source)
    assert claims
    assert [claim for claim in claims if claim not in printed(scene)] == [], "sudo python docs/casts/record.py"


@pytest.mark.root
@pytest.mark.timeout(330)
@pytest.mark.parametrize("scene", SCENES)
def test_the_demo_prints_what_was_recorded(scene: str) -> None:
    done = subprocess.run([LBCTL, "demo", scene], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert settled(done.stdout) == settled(printed(scene)), "sudo python docs/casts/record.py"
