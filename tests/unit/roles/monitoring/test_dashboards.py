# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Grafana dashboard, the page and the rules ask for metrics that there are, in a language that Prometheus knows."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROOT, load

FILES = ROOT / "roles/monitoring/files"
DASHBOARD: dict[str, Any] = json.loads((FILES / "grafana/redundancy.json").read_text(encoding="utf-8"))
PAGE = (FILES / "consoles/index.html").read_text(encoding="utf-8")

#: What the role exporters gives, Prometheus itself (ALERTS, up), and its blackbox and node exporters.
KNOWN = re.compile(
    r"^(up|ALERTS|probe_(success|duration_seconds|http_status_code|ssl_earliest_cert_expiry)"
    r"|node_(systemd_unit_state|time_seconds|boot_time_seconds|load1|cpu_seconds_total|disk_io_time_seconds_total"
    r"|memory_Mem(Available|Total)_bytes|filesystem_(avail_bytes|size_bytes|readonly)"
    r"|network_(receive|transmit)_bytes_total)"
    r"|alertmanager_notifications_failed_total"
    r"|stack_(metrics_timestamp_seconds|pg_fenced|vip_held|gluster_brick_up|gluster_heal_pending|store_mounted"
    r"|certificate_not_after_timestamp_seconds|backup_timestamp_seconds|backup_ok|release_info|declared"
    r"|pg_in_recovery|pg_timeline|pg_synchronous_wanted|pg_standby_(streaming|synchronous|lag_bytes|lag_seconds)"
    r"|pg_slot_(active|retained_bytes|lost)|pg_archiver_failing|pg_archived_age_seconds|pg_wal_waiting"
    r"|http_requests_total|http_request_seconds_bucket))$"
)
METRIC = re.compile(r"\b(?:up|ALERTS|(?:stack|node|probe|alertmanager)_[a-zA-Z0-9_]+)\b")


def panels() -> Iterator[dict[str, Any]]:
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


EXPRESSIONS = [target["expr"] for panel in panels() for target in panel["targets"]]


def metrics(expression: str) -> set[str]:
    """Names of the metrics, without what stands in quotes."""
    return set(METRIC.findall(re.sub(r'"[^"]*"|\'[^\']*\'', '""', expression)))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_dashboard_names_metrics_that_there_are(expression: str) -> None:
    assert metrics(expression)
    assert [name for name in metrics(expression) if not KNOWN.match(name)] == []


def test_rules_name_metrics_that_there_are() -> None:
    named: set[str] = set()
    for group in load(FILES / "rules.yml")["groups"]:
        for rule in group["rules"]:
            found = metrics(rule["expr"])
            assert found or rule["alert"] == "Watchdog", rule["alert"]
            named |= found
    assert [name for name in named if not KNOWN.match(name)] == []


def test_the_page_names_metrics_that_there_are() -> None:
    script = PAGE.partition("<script>")[2]
    named = {name for name in METRIC.findall(script) if name.startswith(("stack", "node", "probe"))}
    # Some are patterns.
    patterns = {"stack_pg_", "stack_gluster_", "stack_backup_", "stack_certificate_", "stack_metrics_"}
    assert [name for name in named - patterns if not KNOWN.match(name)] == []
    assert named > patterns


def test_prometheus_can_read_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"query_{place}", "expr": expression} for place, expression in enumerate(dict.fromkeys(EXPRESSIONS))
    ]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout + done.stderr


def test_panels_are_whole() -> None:
    found = list(panels())
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in found]
    assert len(set(places)) == len(found)
    for panel in found:
        assert panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


def test_the_page_fetches_nothing_from_elsewhere() -> None:
    # Only links that a person follows lead away.
    elsewhere = re.findall(r"""(?:src|href|url)\s*[=(:]\s*["']?(https?:[^"')\s]+)""", PAGE)
    assert set(elsewhere) == {"https://github.com/renfo/redundancy/blob/main/docs/runbooks.md"}
    assert not re.search(r"@import|<script[^>]+src|<link[^>]+stylesheet", PAGE)
    # It is a template to Prometheus, and has nothing to be filled in.
    assert "{{" not in PAGE
