# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_report import picture, report, write

ABOUT = {"inventory": "lab", "site": "renfo.example", "seed": None}


def tally(operation: str, **change: Any) -> dict[str, Any]:
    counted: dict[str, Any] = {
        "operation": operation,
        "ok": 90,
        "failed": 8,
        "unknown": 2,
        "gap": 2.5,
        "gap_end": 104.0,
        "slowest": 3.0,
        "median": 0.01,
        "details": {"status <503>": 10},
    }
    return {**counted, **change}


def round_of(number: int = 1, **change: Any) -> dict[str, Any]:
    result: dict[str, Any] = {
        "number": number,
        "fault": "app_kill",
        "title": "application killed (-9)",
        "tier": "app",
        "hosts": ["app1"],
        "begun": 100.0,
        "injected": 102.0,
        "healed": 106.0,
        "ended": 110.0,
        "tallies": [tally("page"), tally("write")],
        "rto": 2.0,
        "whole": 3.0,
        "losses": {"writes": [], "twice": [], "uploads": [], "two_primaries": []},
        "spans": [{"host": "pg1", "timeline": 1, "first": 100.0, "last": 109.0}],
        "budget": {},
        "failures": [],
        "notes": ["failover.yml took 5.0 s"],
        "passed": True,
        "alerts": None,
    }
    return {**result, **change}


REQUESTS = [
    {"operation": "page", "sent": 101.0, "done": 101.02, "outcome": "ok"},
    {"operation": "page", "sent": 103.0, "done": 103.5, "outcome": "failed"},
    {"operation": "write", "sent": 104.0, "done": 119.0, "outcome": "unknown"},
]
LOST = round_of(
    2,
    passed=False,
    failures=["1 acknowledged write(s) lost: <k>"],
    whole=None,
    losses={"writes": ["k"], "twice": [], "uploads": [], "two_primaries": []},
)


def written(folder: Path, *rounds: dict[str, Any]) -> dict[str, Any]:
    document = report(rounds, ABOUT)
    write(folder, document, REQUESTS)
    return document


def test_a_drill_that_passed(tmp_path: Path) -> None:
    document = written(tmp_path, round_of())
    assert document["passed"]
    assert document["totals"]["requests"] == 200
    assert document["totals"]["acknowledged_writes"] == 90
    assert json.loads((tmp_path / "report.json").read_text())["rounds"][0]["fault"] == "app_kill"
    assert not xml.etree.ElementTree.parse(tmp_path / "junit.xml").findall(".//failure")


def test_a_drill_that_lost_something(tmp_path: Path) -> None:
    document = written(tmp_path, round_of(), LOST)
    assert not document["passed"]
    assert (document["totals"]["failed_rounds"], document["totals"]["lost_writes"]) == (1, 1)
    failures = xml.etree.ElementTree.parse(tmp_path / "junit.xml").findall(".//failure")
    assert [failure.get("message") for failure in failures] == ["1 acknowledged write(s) lost: <k>"]
    page = (tmp_path / "index.html").read_text()
    assert "1 acknowledged write(s) lost: &lt;k&gt;" in page
    assert "never" in page


def test_a_drill_that_broke_off_has_not_passed(tmp_path: Path) -> None:
    document = report([round_of()], ABOUT, planned=2)
    write(tmp_path, document, REQUESTS)
    assert not document["passed"]
    sentence = "the drill broke off: 1 of 2 round(s) have no result"
    failures = xml.etree.ElementTree.parse(tmp_path / "junit.xml").findall(".//failure")
    assert [failure.get("message") for failure in failures] == [sentence]
    assert sentence in (tmp_path / "index.html").read_text()
    assert sentence in (tmp_path / "report.md").read_text()


def test_what_was_lost_in_another_round_counts() -> None:
    assert not report([round_of()], ABOUT, ["1 acknowledged write(s) lost"], 1)["passed"]


def test_the_table_alone(tmp_path: Path) -> None:
    written(tmp_path, round_of(), LOST)
    table = (tmp_path / "report.md").read_text().splitlines()
    assert table[2].startswith("400 requests; 1 of 180 acknowledged writes")
    assert table[-2].startswith(
        "| `app_kill` | app1 | 180 | 16 | 4 | 2.5 s | 0.0 s | 2.5 s | 0.0 s | 2.0 s | 3 s | within budget |"
    )
    assert table[-1].endswith("| never | **over**: 1 acknowledged write(s) lost: <k> |")


ALERTS: dict[str, Any] = {
    "host": "ops1",
    "untold": "",
    "told": [
        {"name": "HostDown", "about": "app1", "severity": "warning", "expected": True, "after": 41.2, "over": 12.0},
        {"name": "SiteDown", "about": "<a>", "severity": "critical", "expected": False, "after": 50.0, "over": None},
    ],
    "failures": ["the alert SiteDown fired"],
}
QUIET = {**ALERTS, "told": [], "untold": "it is short", "failures": []}


def test_what_was_told_is_in_the_report(tmp_path: Path) -> None:
    written(tmp_path, round_of(alerts=ALERTS), round_of(2, alerts=QUIET), round_of(3, alerts={**QUIET, "host": ""}))
    table = (tmp_path / "report.md").read_text()
    assert "| 3 s | 41 s | 12 s | within budget |" in table
    assert "| 3 s | nothing to tell |  | within budget |" in table
    assert "| 3 s | not asked |  | within budget |" in table
    assert "| `app_kill` | SiteDown | <a> | critical | no | 50 s | never |" in table
    assert "| `app_kill` | nothing to tell: it is short |" in table
    page = (tmp_path / "index.html").read_text()
    assert "cleared after" in page
    assert "&lt;a&gt;" in page
    assert "Alerts: nobody was asked which alerts fire" in page


def test_a_drill_that_did_not_ask_says_nothing_of_alerts(tmp_path: Path) -> None:
    written(tmp_path, round_of())
    for name in ("report.md", "index.html"):
        assert "lert" not in (tmp_path / name).read_text()


def test_a_drill_without_a_round_has_not_passed(tmp_path: Path) -> None:
    assert not written(tmp_path)["passed"]


def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    written(tmp_path, round_of())
    page = (tmp_path / "index.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert "@import" not in page
    assert "url(" not in page


def test_what_the_site_said_is_text_on_the_page(tmp_path: Path) -> None:
    written(tmp_path, round_of())
    assert "10 \u00d7 status &lt;503&gt;" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("change", [{}, {"spans": []}, {"whole": None}, {"tallies": []}])
def test_there_is_a_picture_of_every_round(change: dict[str, Any]) -> None:
    assert picture(round_of(**change), REQUESTS).startswith(b"\x89PNG")


def test_two_pictures_differ_where_the_requests_do() -> None:
    assert picture(round_of(), REQUESTS) != picture(round_of(), [])
