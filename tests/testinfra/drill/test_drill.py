"""The drill itself: what it refuses, a controller that dies in the middle, and each tier once."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Cluster, wait
from tests.support.lab import Lab
from tests.support.rounds import EVERY_STEP

MINE = {"drill_i_may_break": "lab"}
#: Seconds are for `make drill`: what a machine that does ten things at once takes is no defect.
PATIENT = {"gap": None, "read_gap": None, "video_gap": None, "write_gap": None, "upload_gap": None, "slowest": None}
TIERS = ["app_stop", "lb_off", *(["standby_off"] if EVERY_STEP else []), "brick_kill", "primary_off"]


def clients() -> str:
    """The clients of drills that run on this machine."""
    return subprocess.run(["pgrep", "-f", "drill_client.py probe"], capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("named", [{}, {"drill_i_may_break": "production"}], ids=["nobody", "another"])
def test_nothing_is_broken_that_was_not_named(lab: Lab, named: dict[str, Any]) -> None:
    play = lab.play("drill.yml", extra=named)
    assert play.rc != 0
    assert "drill.yml -e drill_i_may_break=lab" in play.said(), play.output
    assert play.changed() == {}


def test_check_mode_breaks_nothing(lab: Lab, tmp_path: Path) -> None:
    play = lab.play("drill.yml", "--check", extra={**MINE, "drill_report": str(tmp_path / "report")})
    assert play.rc == 0, play.output
    assert "app_kill" in play.output
    assert play.changed() == {}
    assert not (tmp_path / "report").exists()


@pytest.fixture
def degraded(lab: Lab) -> Iterator[None]:
    lab.run("lb2", "systemctl stop nginx-media")
    yield
    lab.run("lb2", "systemctl start nginx-media")


@pytest.mark.usefixtures("degraded")
def test_a_degraded_stack_is_not_drilled(lab: Lab, tmp_path: Path) -> None:
    play = lab.play("drill.yml", extra={**MINE, "drill_faults": "app_kill", "drill_report": str(tmp_path)})
    assert play.rc != 0
    assert "Nothing was broken. The stack is degraded as it is" in play.said(), play.output
    assert "lb2: the NGINX for media doesn't run" in play.said(), play.output


def test_a_host_heals_by_itself_if_the_controller_dies(lab: Lab, tmp_path: Path) -> None:
    drill = lab.start("drill.yml", extra={**MINE, "drill_faults": "app_cut", "drill_report": str(tmp_path)})
    drill.wait_for_task("Let it last")
    assert clients()
    drill.kill()
    tables = ("exec", lab.container("app1"), "nft", "list", "tables")
    wait(lambda: "renfo_drill" in lab.docker(*tables), 5, lambda: "app1 was never cut off")
    wait(lambda: "renfo_drill" not in lab.docker(*tables), 20, lambda: "app1 is still cut off")
    wait(lambda: not clients(), 20, lambda: "the client still runs")
    wait(lambda: lab.play("status.yml").rc == 0, 60, lambda: "the stack is still degraded")


def test_each_tier_once(lab: Lab, cluster: Cluster, tmp_path: Path) -> None:
    cluster.wait_whole()
    old = cluster.primary()
    budgets = dict.fromkeys(TIERS, PATIENT)
    # One that can't be kept: it must be told, and end the drill with an error.
    budgets["brick_kill"] = {**PATIENT, "whole": 0}
    extra = {**MINE, "drill_faults": ",".join(TIERS), "drill_budgets": budgets, "drill_report": str(tmp_path)}
    play = lab.play("drill.yml", extra=extra)
    report = json.loads((tmp_path / "report.json").read_text())
    failures = {found["fault"]: found["failures"] for found in report["rounds"] if found["failures"]}
    assert [found["fault"] for found in report["rounds"]] == TIERS, play.output
    assert list(failures) == ["brick_kill"], failures
    assert failures["brick_kill"][0].startswith("redundancy was whole")
    assert play.rc != 0
    assert "Not every fault stayed within its budget" in play.said()

    totals = report["totals"]
    assert totals["acknowledged_writes"] > 60 * len(TIERS)
    assert totals["acknowledged_uploads"] > 12 * len(TIERS)
    assert (totals["lost_writes"], totals["lost_uploads"], totals["two_primaries"]) == (0, 0, 0)
    # The failover was seen by the instances themselves: the last writes of one timeline, the first of the next.
    spans = report["rounds"][-1]["spans"]
    assert spans[0]["host"] == old
    assert cluster.primary() != old
    assert spans[0]["last"] < spans[-1]["first"]
    assert spans[-1]["timeline"] == spans[0]["timeline"] + 1

    failed = xml.etree.ElementTree.parse(tmp_path / "junit.xml").findall(".//testcase[failure]")
    assert [case.get("name", "").split()[1] for case in failed] == ["brick_kill"]
    assert "over budget" in (tmp_path / "index.html").read_text()
    # Nothing of it is left on the hosts.
    for host in lab.pg_hosts:
        assert not lab.host(host).file("/var/lib/renfo-drill").exists
        assert "renfo-drill" not in lab.run(host, "systemctl list-units --all --plain 'renfo-drill*'; nft list tables")
