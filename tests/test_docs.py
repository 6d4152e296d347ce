"""What the documents say of the code is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from cli.config.loader import load
from cli.run.parts import MODULES
from lb4.compile.table import Assistance, PacketQueues, compile_table

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_are_there(page: Path) -> None:
    named = set(re.findall(r"(?<![\w/.])(?:lb4|lb7|cli|tests|packaging|vagrant)/[\w/-]+(?:\.\w+)?", page.read_text()))
    assert [name for name in sorted(named) if not ((ROOT / name).exists() or (ROOT / f"{name}.py").exists())] == []


@pytest.mark.parametrize("kind", [{"assist": "first packets"}.get(kind, kind) for kind in MODULES])
def test_the_architecture_knows_the_worker(kind: str) -> None:
    assert f"| {kind} |" in ARCHITECTURE
    assert re.search(rf"workers\[.*\b{kind}\b.*\]", ARCHITECTURE)


def test_the_architecture_knows_the_tests() -> None:
    table = ARCHITECTURE[ARCHITECTURE.index("## Tests") :]
    kinds = {path.parent.name for path in (ROOT / "tests").glob("*/__init__.py")}
    assert kinds == {
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in row.strip("`").split("`, `")
    }


def test_every_dependency_has_its_reason() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    table = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/adr/0001-dependencies.md").read_text(), re.MULTILINE)[1:]
    given = {name.lower() for row in table for name in row.split(", ")}
    assert given == {re.split(r"[<>=]", each)[0].lower() for each in wanted}


def test_both_locks_pin_the_same() -> None:
    pins = [
        set(re.findall(r"^([\w-]+==\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements-run.lock", "requirements.lock")
    ]
    assert pins[0]
    assert pins[0] <= pins[1]
