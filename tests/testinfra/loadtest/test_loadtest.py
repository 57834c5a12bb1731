"""A load test, as short as it can be: that it measures, that it cleans up, what it refuses. Figures are for `make load`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab import Lab

MINE = {"loadtest_i_may_load": "lab"}
SHORT = {"loadtest_seconds": 1, "loadtest_rounds": 1, "loadtest_scale": 1, "loadtest_connections": 4}


@pytest.mark.parametrize("named", [{}, {"loadtest_i_may_load": "production"}], ids=["nobody", "another"])
def test_nothing_is_loaded_that_was_not_named(lab: Lab, named: dict[str, Any]) -> None:
    play = lab.play("loadtest.yml", extra=named)
    assert play.rc != 0
    assert "loadtest.yml -e loadtest_i_may_load=lab" in play.said(), play.output
    assert play.changed() == {}


def test_check_mode_loads_nothing(lab: Lab, tmp_path: Path) -> None:
    play = lab.play("loadtest.yml", "--check", extra={**MINE, "loadtest_report": str(tmp_path / "report")})
    assert play.rc == 0, play.output
    assert play.changed() == {}
    assert not (tmp_path / "report").exists()


def test_everything_is_measured_and_nothing_is_left(lab: Lab, tmp_path: Path) -> None:
    # What an interrupted one left is in nobody's way.
    primary = lab.groups["pg_primary"][0]
    lab.run(primary, "runuser -u postgres -- createdb renfo_load && mkdir -p /var/lib/renfo-load")
    play = lab.play("loadtest.yml", extra={**MINE, **SHORT, "loadtest_report": str(tmp_path)})
    assert play.rc == 0, play.output
    report = json.loads((tmp_path / "report.json").read_text())
    rows = {(chart["name"], row["title"]): row for chart in report["charts"] for row in chart["rows"]}
    assert {chart for chart, _title in rows} == {"replicas", "balancer", "video", "upload", "write", "read"}
    assert [title for chart, title in rows if chart == "replicas"] == ["1 host", "2 hosts", "3 hosts"]
    assert [title for chart, title in rows if chart == "write"] == ["Debian's settings", "tuned, off", "tuned, any_1"]
    for name, row in rows.items():
        assert row["value"] > 0, (name, row)
        assert row["errors"] == 0, (name, row)
    assert (tmp_path / "index.html").read_text().count("data:image/png") == 6
    assert lab.run(primary, "pg_lsclusters --no-header | wc -l") == "1"
    query = "SELECT count(*) FROM pg_database WHERE datname = 'renfo_load'"
    assert lab.run(primary, f'runuser -u postgres -- psql -XAtc "{query}"') == "0"
    for host in (primary, "lb1", "lb2", "ops1"):
        assert (
            lab.run(host, "ls -d /var/lib/renfo-load 2>/dev/null; systemctl list-units --no-legend 'renfo-load*'") == ""
        )
    play = lab.play("site.yml")
    assert play.changed() == {}, play.output
