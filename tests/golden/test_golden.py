"""Configuration in, ruleset text out: one directory a feature, read by people."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.config.loader import load
from lb4.compile.table import Assistance, compile_table
from lb4.export_iptables import ExportError, export_iptables
from lb4.nft.text import write_table

HERE = Path(__file__).parent
CASES = sorted(path.parent.name for path in HERE.glob("*/config.yaml"))
ASSISTED = Assistance(4400, 4400)


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """An empty network namespace, for programs that judge what was written."""
    name = f"lbt-{os.getpid()}-golden"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


def written(case: str, name: str) -> str:
    balancer = load((HERE / case / "config.yaml").read_text(), str(HERE / case / "config.yaml")).balancer
    if name == "ruleset.nft":
        return write_table(compile_table(balancer, ASSISTED if case.endswith("_assisted") else None))
    try:
        return export_iptables(balancer, "ip") + export_iptables(balancer, "ip6")
    except ExportError as error:
        return "".join(f"# {line}\n" for line in error.lines)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["ruleset.nft", "iptables.rules"])
def test_text_is_as_it_was_read(case: str, name: str, request: pytest.FixtureRequest) -> None:
    path = HERE / case / name
    now = written(case, name)
    if request.config.getoption("--regenerate", default=False):
        path.write_text(now)
    assert now == path.read_text()


NEEDS_NEWER_NFT = "nft 1.0.6 aborts on `update @map { ip6 saddr : ip6 daddr . th dport }`, which the kernel takes"


@pytest.mark.root
@pytest.mark.parametrize("case", CASES)
def test_nft_takes_the_ruleset(case: str, namespace: str) -> None:
    text = (HERE / case / "ruleset.nft").read_text()
    if "ip6 saddr : ip6 daddr . th dport" in text:
        pytest.skip(NEEDS_NEWER_NFT)
    if case.endswith("_assisted"):
        text = text.replace("queue flags bypass to 4400", "accept")  # a kernel without `queue` has the xtables target
    judge(namespace, ["nft", "-c", "-f", "-"], text)


@pytest.mark.root
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("family", "program"), [("ip", "iptables-restore"), ("ip6", "ip6tables-restore")])
def test_iptables_takes_the_rules(case: str, family: str, program: str, namespace: str) -> None:
    balancer = load((HERE / case / "config.yaml").read_text(), "config.yaml").balancer
    try:
        text = export_iptables(balancer, "ip" if family == "ip" else "ip6")
    except ExportError:
        pytest.skip("iptables cannot say this")
    judge(namespace, [program, "--test"], text)


def judge(namespace: str, command: list[str], text: str) -> None:
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, *command],
        input=text,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
