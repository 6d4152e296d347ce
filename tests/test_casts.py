"""The recordings are of today's demo: readable, whole, with each of its claims seen."""

from __future__ import annotations

import inspect
import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from cli.commands.demo import SCENES

CASTS = Path(__file__).parents[1] / "docs" / "casts"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def printed(scene: str) -> str:
    header, *events = [json.loads(line) for line in (CASTS / f"{scene}.cast").read_text().splitlines()]
    assert header["version"] == 2
    assert [at for at, _, _ in events] == sorted(at for at, _, _ in events)
    return COLOUR.sub("", "".join(text for _, _, text in events))


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
