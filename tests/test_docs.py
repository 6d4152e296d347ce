"""What the documents say of the code is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.config.loader import load
from lb4.compile.table import Assistance, PacketQueues, compile_table

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
PACKET = """version: 1
listeners:
  web: {bind: "192.0.2.10:80", mode: packet, service: web}
services:
  web: {backends: ["10.0.1.2:8080"]}
"""
CASES = [PACKET, *(path.read_text() for path in sorted((ROOT / "tests/golden").glob("*/config.yaml")))]


def hook_order() -> set[tuple[str, str, int]]:
    """(chain, hook, priority) of the table in docs/datapath.md."""
    text = (ROOT / "docs/datapath.md").read_text()
    rows = re.findall(r"^\| ([a-z, ]+) \| (−?\d+) \| (`.*?`) \|", text, re.MULTILINE)
    return {
        (chain, hook, int(priority.replace("−", "-")))
        for hooks, priority, chains in rows
        for chain in re.findall(r"`([^`]+)`", chains)
        for hook in hooks.split(", ")
        if chain.startswith(f"{hook}-")
    }


def test_the_hook_order_is_as_written() -> None:
    found = set()
    for text in CASES:
        table = compile_table(load(text, str(ROOT)).balancer, Assistance(4400, 4400), PacketQueues())
        bases = ((name, chain.base) for name, chain in table.chains.items())
        found |= {(name, base.hook.value, base.priority) for name, base in bases if base is not None}
    assert found == hook_order()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []


def test_both_locks_pin_the_same() -> None:
    pins = [
        set(re.findall(r"^([\w-]+==\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements-run.lock", "requirements.lock")
    ]
    assert pins[0]
    assert pins[0] <= pins[1]
