"""What is scraped: all that the catalogue names, in a form that Prometheus takes, with the numbers that were seen."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.lab.plan import CLIENT, LISTEN4
from cli.metrics.catalogue import METRICS
from tests.lab import Lab
from tests.run.files import ECHO, WEB, everything
from tests.run.load import Connections, Requests
from tests.run.running import Run, kill, until

pytestmark = pytest.mark.root

DOCS = Path(__file__).parents[2] / "docs"
SUFFIXES = ("_bucket", "_count", "_sum", "_total", "_created")
ONLY_IN_MODE_PACKET = {
    "lbctl_queue_waiting",
    "lbctl_queue_dropped_total",
    "lbctl_queue_failed_total",
    "lbctl_queue_flows",
}


def scrape(lab: Lab, port: int = 9100) -> str:
    with lab.inside(CLIENT):
        process = subprocess.Popen(
            ["curl", "-sS", "--max-time", "10", f"http://{LISTEN4}:{port}/metrics"], stdout=subprocess.PIPE, text=True
        )
    out, _ = process.communicate(timeout=30)
    return out


def values(text: str) -> dict[str, float]:
    """By name and labels, as written."""
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_a_scrape(run: Run, lab: Lab) -> None:
    run.start(everything() + f'metrics: {{bind: "{LISTEN4}:9100"}}\n')
    echoes, web = Connections(lab, ECHO), Requests(lab, WEB)
    for _ in range(9):
        echoes.turn()
        web.turn()
    web.close()
    kill(run.workers()["lb7.worker"][0])
    assert run.says("a worker ended and is replaced")
    run.do("weight", service="echo", backend="10.0.2.2:9000", weight=4)
    run.nft("add", "rule", "inet", "lbctl", "postrouting-nat", "tcp", "dport", "9999", "drop")
    assert run.says("somebody else changed")
    text = scrape(lab)
    found = values(text)
    assert found['lbctl_backend_connections_total{backend="10.0.1.2:9000",service="echo"}'] >= 3
    assert found['lbctl_backend_weight{backend="10.0.2.2:9000",service="echo"}'] == 4
    assert found['lbctl_worker_deaths_total{kind="http"}'] == 1
    assert found['lbctl_operations_total{operation="weight",outcome="done"}'] == 1
    assert found["lbctl_kernel_drift"] == 1
    assert found["lbctl_kernel_foreign_changes_total"] == 1
    assert found["lbctl_kernel_transactions_seconds_count"] >= 2
    ports = [v for name, v in found.items() if name.startswith("lbctl_snat_ports_used{") and ":9000" in name]
    assert sum(ports) >= 9
    families = {family.name: family for family in text_string_to_metric_families(text)}
    scraped = set(families) | {f"{name}_total" for name in families}
    assert {m.name for m in METRICS} - ONLY_IN_MODE_PACKET <= scraped
    judged = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stderr + judged.stdout


def test_http_counts(run: Run, lab: Lab) -> None:
    run.start(everything() + f'metrics: {{bind: "{LISTEN4}:9100"}}\n')
    web = Requests(lab, WEB, kept=False)
    for _ in range(12):
        web.turn()
    assert until(
        lambda: values(scrape(lab)).get('lbctl_http_requests_total{class="2xx",listener="web",route="1"}') == 12
    )
    found = values(scrape(lab))
    assert found['lbctl_http_request_seconds_bucket{le="+Inf",listener="web",route="1"}'] == 12
    assert found['lbctl_http_request_seconds_count{listener="web",route="1"}'] == 12
    assert 0 < found['lbctl_http_request_seconds_sum{listener="web",route="1"}'] < 12
    by_backend = [v for n, v in found.items() if n.startswith("lbctl_http_backend_requests_total{")]
    assert sum(by_backend) == 12
    assert found['lbctl_http_connections_total{listener="web"}'] == 12


def named_in(text: str) -> set[str]:
    """The metrics that expressions name."""
    names = set(re.findall(r"\blbctl_[a-z_]+", text))
    known = {m.name for m in METRICS}
    return {n if n in known else next((n.removesuffix(s) for s in SUFFIXES if n.endswith(s)), n) for n in names}


def test_alert_rules() -> None:
    judged = subprocess.run(
        ["promtool", "check", "rules", str(DOCS / "alerts.yml")], capture_output=True, text=True, check=False
    )
    assert judged.returncode == 0, judged.stderr + judged.stdout
    assert named_in((DOCS / "alerts.yml").read_text()) <= {m.name for m in METRICS}


def test_the_dashboard_names_what_there_is() -> None:
    panels = json.loads((DOCS / "grafana-dashboard.json").read_text())["panels"]
    text = "\n".join(target["expr"] for panel in panels for target in panel["targets"])
    assert named_in(text) <= {m.name for m in METRICS}
    assert len({panel["id"] for panel in panels}) == len(panels)
