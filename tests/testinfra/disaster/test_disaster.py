"""The loss of everything but the backup host, rehearsed as `make drill FAULT=disaster` does; and the site afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Cluster, wait
from tests.support.lab import ROOT, Lab
from tests.support.rounds import rounds_only


@pytest.fixture(scope="module")
def video(lab: Lab) -> dict[str, Any]:
    """A video that is there before the disaster, larger than those of the rehearsal's client."""
    content = os.urandom(5_000_000)
    answer = lab.request(
        "POST", "/videos", files={"file": ("squats.mp4", content, "video/mp4")}, data={"title": "Before the disaster"}
    )
    assert answer.status_code == 201, answer.text
    found = dict(answer.json())
    assert found["sha256"] == hashlib.sha256(content).hexdigest()
    return found


@pytest.fixture(scope="module")
def rehearsed(
    lab: Lab, video: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """What the rehearsal printed, and the folder of its report."""
    folder = tmp_path_factory.mktemp("disaster") / "report"
    # Shorter than by hand, yet longer than archive_timeout.
    times = ("--before", "5", "--after", "75")
    done = subprocess.run(
        [sys.executable, str(ROOT / "lab/disaster.py"), "--report", str(folder), *times],
        env={**os.environ, "LAB_NAME": lab.name},
        capture_output=True,
        text=True,
        timeout=1500,
        cwd=ROOT,
        check=False,
    )
    return done, folder


def said(done: subprocess.CompletedProcess[str], folder: Path) -> str:
    """All there is to read when it failed: its own words, and the ends of the playbooks' logs."""
    logs = (f"--- {log.name}\n{log.read_text()[-3000:]}" for log in sorted((folder / "logs").glob("*.log")))
    return "\n".join([done.stdout, done.stderr, *logs])


def test_the_rehearsal(
    rehearsed: tuple[subprocess.CompletedProcess[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    done, folder = rehearsed
    assert done.returncode == 0, said(done, folder)
    report = json.loads((folder / "report.json").read_text())
    with capsys.disabled():
        print(f"\n{done.stdout[done.stdout.rindex('Writes:') :]}")
    assert report["passed"]
    assert report["accounts"]["writes"]["acknowledged"] > 200
    assert report["accounts"]["uploads"]["acknowledged"] > 40
    assert report["rpo_seconds_database"] <= 120
    assert report["rto_seconds"] > 0
    assert {path.name for path in folder.iterdir()} >= {"report.json", "report.md", "index.html", "stages.png", "logs"}


@pytest.mark.usefixtures("rehearsed")
def test_nothing_is_degraded(lab: Lab, cluster: Cluster) -> None:
    status = lab.play("status.yml")
    assert status.rc == 0, status.output
    cluster.wait_whole()
    assert len(cluster.streaming()) == 2


@rounds_only
@pytest.mark.usefixtures("rehearsed")
def test_another_run_changes_nothing(lab: Lab) -> None:
    play = lab.play("site.yml")
    assert play.rc == 0, play.output
    assert play.changed() == {}, play.output


@pytest.mark.usefixtures("rehearsed")
def test_a_new_backup_goes_on_in_the_same_history(lab: Lab, cluster: Cluster) -> None:
    primary = cluster.primary()
    # The restore began a full one.
    state = "systemctl show --property=ActiveState --value pg-backup@full.service"
    wait(lambda: lab.run("ops1", state) == "inactive", 180, lambda: f"the full backup is {lab.run('ops1', state)}")
    before = lab.catalogue()
    play = lab.play("backup.yml")
    assert play.rc == 0, play.output
    after = lab.catalogue()
    assert len(after["backup"]) == len(before["backup"]) + 1
    newest = after["backup"][-1]
    timeline = lab.sql(primary, "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)")
    identifier = lab.sql(primary, "SELECT system_identifier FROM pg_control_system()")
    assert newest["archive"]["stop"].startswith(timeline), newest
    # One database, the same as before the disaster, which its backups and the new ones belong to.
    assert {str(one["system-id"]) for one in after["db"]} == {identifier}
    assert newest["database"]["id"] == max(one["id"] for one in after["db"])
    assert not newest["error"]
    # What is written now reaches the archive.
    lab.write_session("after the disaster")
    lab.wait_archived(primary)


@pytest.mark.usefixtures("rehearsed")
def test_a_video_of_before_is_served_by_every_host(lab: Lab, video: dict[str, Any]) -> None:
    for balancer in lab.lb_hosts:
        read = lab.request("GET", f"/videos/{video['id']}/file", at=balancer)
        assert hashlib.sha256(read.content).hexdigest() == video["sha256"], f"through {balancer}"
    for host in lab.app_hosts:
        answer = lab.replica(host, f"/videos/{video['id']}/file")
        assert answer.status_code == 200, f"{host}: {answer.text}"
        path = "/srv/media/" + answer.headers["X-Accel-Redirect"].removeprefix("/_media/")
        assert lab.run(host, f"sha256sum {path}").split()[0] == video["sha256"], f"through {host}"


@pytest.mark.usefixtures("rehearsed")
def test_the_site_takes_uploads_again(lab: Lab) -> None:
    content = os.urandom(1_000_000)
    began = time.time()
    answer = lab.request(
        "POST", "/videos", files={"file": ("planks.mp4", content, "video/mp4")}, data={"title": "After the disaster"}
    )
    assert answer.status_code == 201, answer.text
    read = lab.request("GET", f"/videos/{answer.json()['id']}/file")
    assert hashlib.sha256(read.content).hexdigest() == hashlib.sha256(content).hexdigest()
    # Also into the next snapshot.
    play = lab.play("backup.yml")
    assert play.rc == 0, play.output
    good = json.loads(lab.run("ops1", "cat /var/lib/media-backup/result.json"))["good"]
    assert good["began"] > began
