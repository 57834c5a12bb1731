# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a load test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.plugin_utils import load_report
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_journal import note
from load_site import WANTED

ABOUT = {"inventory": "lab", "site": "renfo.example", "generator": "ops1", "wanted": WANTED}


def figures(rate: float, **more: Any) -> dict[str, Any]:
    latency = {"mean": 2.0, "p50": 1.0, "p90": 3.0, "p99": 9.5}
    return {"rate": rate, "throughput": rate * 1e6, "latency": latency, "errors": 0, **more}


def lines() -> list[dict[str, Any]]:
    """Two rounds: page directly and by the load balancer, a video, reads on two hosts."""
    found = []
    for turn in (1, 2):
        for name, charts, hosts, said in (
            ("direct", {"balancer": "directly"}, ["ops1"], figures(400.0)),
            ("hosts_1", {"replicas": "1 host", "balancer": "balanced"}, ["ops1"], figures(100.0 * turn, errors=turn)),
            ("video_site", {"video": "the site"}, ["ops1"], figures(50.0)),
            (
                "standbys_2",
                {"read": "2 standbys"},
                ["pg2", "pg3"],
                figures(700.0, throughput=None, latency={"mean": 1}),
            ),
        ):
            for host in hosts:
                measure = {"name": name, "charts": charts, "hosts": hosts}
                found.append({"event": "measured", "measure": measure, "round": turn, "host": host, "figures": said})
    return found


def test_ratios_are_to_the_first_of_the_chart() -> None:
    document = load_report.report(lines(), ABOUT)
    charts = {chart["name"]: chart for chart in document["charts"]}
    assert list(charts) == ["replicas", "balancer", "video", "read"]
    assert [(row["value"], row["ratio"]) for row in charts["balancer"]["rows"]] == [(400.0, 1.0), (150.0, 0.375)]
    assert charts["balancer"]["rows"][1]["spread"] == 2.0
    assert charts["balancer"]["rows"][1]["errors"] == 3
    # What hosts did at one time adds up; rounds don't.
    assert charts["read"]["rows"][0]["value"] == 1400.0
    assert (charts["video"]["rows"][0]["value"], charts["video"]["unit"]) == (50.0, "MB/s")


def test_the_report_is_written(tmp_path: Path) -> None:
    load_report.begin(tmp_path / "report")
    for line in lines():
        note(tmp_path / "report" / load_report.JOURNAL, **line)
    document = load_report.report(load_report.measured(tmp_path / "report"), ABOUT)
    load_report.write(tmp_path / "report", document)
    page = (tmp_path / "report/index.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert 'src="http' not in page
    assert "<b>Spread</b>" in page
    assert json.loads((tmp_path / "report/report.json").read_text()) == document
    table = (tmp_path / "report/report.md").read_text()
    assert "| balanced | 150 | 0.38 | 2.00 | 1.0 / 3.0 / 9.5 | 3 |" in table
    assert "2 round(s) of 10 s" in table
    assert "latency in ms: mean" in table
    text = load_report.text(document)
    assert "2 standbys" in text
    assert "1,400" in text


def test_what_was_there_is_forgotten_and_nothing_else(tmp_path: Path) -> None:
    for name in (load_report.JOURNAL, "index.html", "mine.txt"):
        (tmp_path / name).touch()
    (tmp_path / "logs").mkdir()
    load_report.begin(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_measured_is_an_empty_report() -> None:
    document = load_report.report([], ABOUT)
    assert document["charts"] == []
    assert load_report.text(document) == ""
    assert "Load test of lab" in load_report.page(document)
