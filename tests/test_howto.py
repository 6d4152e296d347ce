"""The how-to pages' commands work as they are written, on a host of their own: network, /etc and state."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lb4.doctor import findings
from tests.proxy.test_imported_article import ARTICLE

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "how-to"
ELSEWHERE = ("make install", "systemctl")
"""What takes a host to install to: seen by `make vm-test`."""
HOST = """
set -euo pipefail
sudo() { "$@"; }
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$PWD/etc,workdir=$PWD/work" /etc
ip link set lo up
ip addr add 192.0.2.10/32 dev lo
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
"""


def blocks(page: str, language: str) -> list[str]:
    text = (PAGES / page).read_text()
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def done(script: str, directory: Path) -> str:
    """What a shell prints on a host of its own, in this directory."""
    for name in ("etc", "work", "state"):
        (directory / name).mkdir(exist_ok=True)
    ran = subprocess.run(
        ["unshare", "--net", "--mount", "bash", "-c", HOST + script],
        cwd=directory,
        env=os.environ
        | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        | {"LBCTL_RUN_DIR": str(directory / "run"), "LBCTL_STATE_DIR": str(directory / "state")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.root
def test_a_first_balancer(tmp_path: Path) -> None:
    (file,) = blocks("first-balancer.md", "yaml")
    (tmp_path / "etc/lbctl").mkdir(parents=True)
    (tmp_path / "etc/lbctl/lb.yaml").write_text(file)
    commands = [each for each in blocks("first-balancer.md", "sh") if not any(word in each for word in ELSEWHERE)]
    printed = done("\n".join([*commands, "lbctl plan --exit-code", "lbctl flush", "nft list tables"]), tmp_path)
    assert "IPv4 forwarding" in printed
    assert "All of lbctl is out of the kernel" in printed
    assert "table inet lbctl" not in printed


@pytest.mark.root
def test_tls(tmp_path: Path) -> None:
    (trial,) = (each for each in blocks("tls.md", "sh") if "openssl" in each)
    assert done(trial, tmp_path).startswith("Pong")


@pytest.mark.root
def test_from_envoy(tmp_path: Path) -> None:
    (tmp_path / "envoy.yaml").write_text(ARTICLE.format(10000, 8080, 8181))
    (commands,) = blocks("from-envoy.md", "sh")
    done(commands, tmp_path)
    assert "mode: http" in (tmp_path / "lb.yaml").read_text()


@pytest.mark.root
def test_a_deploy(tmp_path: Path) -> None:
    (file,) = blocks("first-balancer.md", "yaml")
    (tmp_path / "lb.yaml").write_text(file)
    (loop,) = blocks("drain.md", "sh")
    deploys = 'deploy-to() { echo "deployed to $1"; lbctl status | grep -c draining; }'
    printed = done("\n".join(["lbctl apply lb.yaml", deploys, loop, "lbctl status", "lbctl flush"]), tmp_path)
    assert re.findall(r"deployed to (\S+)\n1\n", printed) == ["10.0.1.2:8080", "10.0.2.2:8080"]
    assert printed.rstrip().splitlines()[-2].count("enabled") == 1


@pytest.mark.root
def test_metrics(tmp_path: Path) -> None:
    text = (PAGES / "monitor.md").read_text()
    (shown,) = (block for block in blocks("monitor.md", "yaml") if "metrics:" in block)
    (asked,) = re.findall(r"`(curl [^`]+)`", text)
    (tmp_path / "lb.yaml").write_text(f"version: 1\n{shown}")
    address = "ip addr add 10.0.0.1/32 dev lo"
    run = "lbctl run lb.yaml & until [ -S run/control.sock ]; do sleep 0.1; done"
    scrape = "curl -sS --retry 9 --retry-connrefused http://10.0.0.1:9100/metrics"
    for command in (asked.replace("/run/lbctl/", "run/"), scrape):
        assert "# TYPE lbctl_" in done("\n".join([address, run, command]), tmp_path)


def test_every_finding_of_doctor_is_explained() -> None:
    said = set(re.findall(r'(?:Finding|setting)\(\s*(?:"\w+"|level), "([^"]+)"', inspect.getsource(findings)))
    assert len(said) > 10
    rows = re.findall(r"^\| ([^|]+) \|", (PAGES / "doctor.md").read_text(), re.MULTILINE)
    names = {name for row in rows for name in re.split(r", |: ", row)}
    assert said | {path.rpartition("/")[2] for path in findings.BRIDGE} <= names
