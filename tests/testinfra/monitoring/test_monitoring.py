"""Prometheus sees all of the site, tells of a fault of each tier within about a minute, and stops when it is over."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.cluster import Cluster, wait
from tests.support.lab import ROOT, Lab
from tests.support.monitoring import CONFIG, HOST, Prometheus
from tests.support.rounds import rounds_only

JOBS = {"alertmanager", "node", "postgres", "nginx", "mtail", "site", "lb", "replica"}
#: Seconds within which somebody is told. A minute is what is meant; nine hosts and this test share two cores.
PATIENCE = 100
#: MONITORING_SCREENSHOT=docs/images/monitoring.png keeps the picture.
SCREENSHOT = os.environ.get("MONITORING_SCREENSHOT")


@pytest.fixture(scope="module")
def prometheus(lab: Lab) -> Prometheus:
    return Prometheus(lab)


@pytest.fixture
def quiet(prometheus: Prometheus) -> None:
    """Nothing fires: what the tests before did has been forgotten."""
    wait(lambda: prometheus.firing() == set(), 240, lambda: f"{prometheus.firing()}")


@pytest.mark.usefixtures("quiet")
def test_all_is_asked_and_nothing_is_wrong(lab: Lab, prometheus: Prometheus) -> None:
    wait(lambda: prometheus.silent_targets() == set(), 30, lambda: f"{prometheus.silent_targets()}")
    asked = {(one["metric"]["job"], one["metric"]["instance"]) for one in prometheus.ask("query", query="up")["result"]}
    assert {job for job, _instance in asked} == JOBS
    assert {instance for job, instance in asked if job == "node"} == set(lab.addresses)
    assert {instance for job, instance in asked if job == "replica"} == {f"{host}-1" for host in lab.app_hosts}
    # The one that always fires does, and each rule can be evaluated.
    assert len(prometheus.ask("query", query='ALERTS{alertname="Watchdog"}')["result"]) == 1
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}


def test_nobody_looks_without_the_password(lab: Lab, prometheus: Prometheus) -> None:
    for auth in (None, ("monitoring", "guessed")):
        assert requests.get(prometheus.url, auth=auth, verify=False, timeout=30).status_code == 401
    # Alertmanager and the blackbox exporter ask for none, and so listen to nobody else.
    listening = [line.split()[3].rpartition(":") for line in lab.run(HOST, "ss -ltnH").splitlines()]
    assert {address for address, _colon, port in listening if port in ("9093", "9115")} == {"127.0.0.1"}
    assert prometheus.password not in lab.run(HOST, f"grep -rs . {CONFIG}; ps -eo args")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium on this controller")
@pytest.mark.usefixtures("quiet")
def test_the_page_shows_every_tier(lab: Lab, prometheus: Prometheus, tmp_path: Path) -> None:
    with prometheus.local() as door:
        command = [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            f"--user-data-dir={tmp_path}", "--window-size=1280,1150", "--virtual-time-budget=8000",
        ]  # fmt: skip
        page = f"{door}/consoles/index.html"
        shown = subprocess.run([*command, "--dump-dom", page], capture_output=True, text=True, timeout=120, check=True)
        if SCREENSHOT:
            subprocess.run([*command, f"--screenshot={ROOT / SCREENSHOT}", page], timeout=120, check=True)
    assert "Healthy: any one host may be lost" in shown.stdout
    for name in (*lab.addresses, *(f"{host}-1" for host in lab.app_hosts)):
        assert f"<b>{name}" in shown.stdout, name
    for words in ("holds the address", "primary", "synchronous", "nothing to heal", "Restored to verify"):
        assert words in shown.stdout
    assert shown.stdout.count("<path ") >= 4


class Faults:
    """One on each tier; the site serves all the while."""

    def __init__(self, lab: Lab, cluster: Cluster) -> None:
        self.standby = cluster.standbys()[-1]
        self.balancer = next(host for host in lab.lb_hosts if lab.vip not in lab.run(host, "ip -o address"))
        self.unit = cluster.unit()
        self.fence = f"/var/lib/postgresql/{cluster.version()}-main.fenced"
        self.lab = lab
        self.app, self.storage = lab.app_hosts[0], lab.app_hosts[1]

    def inject(self) -> set[tuple[str, str]]:
        """What must be told of: the alert, and on whom."""
        self.lab.run(self.standby, f"systemctl stop {self.unit}; echo test > {self.fence}")
        self.lab.run(self.app, "systemctl stop app@1")
        self.lab.run(self.storage, "pkill -KILL -f 'glusterfsd .*--volfile-id media[.]'")
        self.lab.run(self.balancer, "systemctl stop nginx shared-storage-keeper; umount /srv/media")
        return {
            ("StandbyNotStreaming", self.standby),
            ("InstanceFenced", self.standby),
            ("RedundancyDegraded", "database"),
            ("ReplicaNotReady", f"{self.app}-1"),
            ("RedundancyDegraded", "app"),
            ("BrickDown", self.storage),
            ("RedundancyDegraded", "store"),
            ("LoadBalancerSilent", self.balancer),
            ("StoreNotMounted", self.balancer),
            ("RedundancyDegraded", "lb"),
        }

    def undo(self) -> None:
        self.lab.run(self.standby, f"rm -f {self.fence}; systemctl start {self.unit}")
        self.lab.run(self.app, "systemctl start app@1")
        self.lab.run(self.storage, "gluster --mode=script volume start media force")
        self.lab.run(self.balancer, "systemctl start srv-media.mount shared-storage-keeper nginx")


@pytest.fixture
def faults(lab: Lab, cluster: Cluster) -> Iterator[Faults]:
    faults = Faults(lab, cluster)
    yield faults
    # Also where the test ended early; for one that didn't this does nothing.
    faults.undo()
    cluster.wait_whole()
    lab.wait_healthy()


def watched(prometheus: Prometheus, wanted: set[tuple[str, str]], gone: bool) -> dict[tuple[str, str], float]:
    """Seconds after which each of *wanted* fired first, or was *gone*; the test fails if one takes too long."""
    begun = time.monotonic()
    seen: dict[tuple[str, str], float] = {}
    while wanted - set(seen):
        firing = prometheus.firing()
        now = time.monotonic() - begun
        for alert in wanted - set(seen):
            if (alert in firing) is not gone:
                seen[alert] = now
        assert now < PATIENCE, f"{'still fires' if gone else 'not told of'}: {wanted - set(seen)}; fires: {firing}"
        time.sleep(1)
    return seen


@pytest.mark.usefixtures("quiet")
def test_a_fault_of_each_tier_is_told_of_and_forgotten(
    prometheus: Prometheus, faults: Faults, capsys: pytest.CaptureFixture[str]
) -> None:
    with prometheus.heard() as received:
        wanted = faults.inject()
        fired = watched(prometheus, wanted, gone=False)
        # Nobody gets up for what the site survives.
        critical = prometheus.ask("query", query='ALERTS{alertstate="firing",severity="critical"}')["result"]
        assert critical == []

        def told(status: str) -> set[str]:
            return {
                alert["labels"]["alertname"]
                for body in received().get("/people", [])
                for alert in body["alerts"]
                if alert["status"] == status
            }

        names = {name for name, _where in wanted}
        wait(lambda: names <= told("firing"), 45, lambda: f"told of: {told('firing')}")
        faults.undo()
        cleared = watched(prometheus, wanted, gone=True)
        with capsys.disabled():
            print("\nseconds until told, and from the end of the fault until over:")
            for alert in sorted(fired, key=lambda alert: fired[alert]):
                print(f"  {' '.join(alert):<35}{fired[alert]:5.0f}{cleared[alert]:5.0f}")
        said: list[Any] = [alert for body in received()["/people"] for alert in body["alerts"]]
        assert {alert["annotations"]["runbook_url"].rpartition("#")[2] for alert in said} >= {
            name.lower() for name in names
        }
        # Some two minutes have passed: the switch elsewhere got its signs of life.
        wait(lambda: len(received().get("/deadman", [])) >= 2, 75, lambda: f"{received().get('/deadman')}")
        beat = received()["/deadman"][-1]
        assert [alert["labels"]["alertname"] for alert in beat["alerts"]] == ["Watchdog"]


@rounds_only
@pytest.mark.usefixtures("quiet")
def test_a_drill_proves_that_its_faults_are_told_of(lab: Lab, cluster: Cluster, tmp_path: Path) -> None:
    cluster.wait_whole()
    lab.wait_healthy()
    faults = ["app_stop", "standby_stop"]
    # Seconds are for `make drill`: what a machine that does ten things at once takes is no defect.
    gaps = ("gap", "read_gap", "video_gap", "write_gap", "upload_gap", "slowest", "whole")
    extra = {
        "drill_i_may_break": "lab",
        "drill_alerts": True,
        "drill_faults": ",".join(faults),
        "drill_budgets": {fault: dict.fromkeys(gaps) for fault in faults},
        "drill_report": str(tmp_path),
    }
    play = lab.play("drill.yml", extra=extra)
    report = json.loads((tmp_path / "report.json").read_text())
    rounds = {found["fault"]: found for found in report["rounds"]}
    assert list(rounds) == faults, play.output
    assert {fault: found["failures"] for fault, found in rounds.items()} == {fault: [] for fault in faults}
    assert play.rc == 0, play.output
    wanted = {}
    for fault, found in rounds.items():
        alerts = found["alerts"]
        assert alerts["host"] == HOST
        wanted[fault] = {(told["name"], told["about"]) for told in alerts["told"] if told["expected"]}
        for told in alerts["told"]:
            assert told["severity"] == "warning", told
            assert not told["expected"] or (told["after"] >= 30 and told["over"] < PATIENCE), told
        # It lasted until the last of them fired, and not much longer.
        last = max(told["after"] for told in alerts["told"] if told["expected"])
        assert last <= found["healed"] - found["injected"] < last + 30
    (app,), (standby,) = (rounds[fault]["hosts"] for fault in faults)
    assert wanted == {
        "app_stop": {("ReplicaNotReady", app), ("RedundancyDegraded", "app")},
        "standby_stop": {("StandbyNotStreaming", standby), ("RedundancyDegraded", "database")},
    }
    assert "| alerts fired after | cleared after |" in (tmp_path / "report.md").read_text()
    # Nothing of it is left.
    assert "renfo-drill" not in lab.run(HOST, "systemctl list-units --all --plain 'renfo-drill*'; ls /var/lib")
