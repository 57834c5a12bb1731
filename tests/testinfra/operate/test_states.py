"""site.yml in the states that it meets in operation, not only the happy one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab import Lab


def wait_healthy(lab: Lab, seconds: float = 120) -> None:
    """Until status.yml finds nothing wrong; the test fails with what it found last."""
    deadline = time.monotonic() + seconds
    while (play := lab.play("status.yml")).rc != 0:
        assert time.monotonic() < deadline, play.output
        time.sleep(2)


def secrets(lab: Lab) -> list[str]:
    """Every generated secret: passwords whole, and a line out of the middle of each key."""
    folder = lab.directory.parents[2] / f"inventories/lab/.secrets/{lab.name}"
    words = [path.read_text().strip() for path in folder.iterdir() if path.is_file()]
    return words + [Path(key).read_text().splitlines()[1] for key in folder.rglob("*.key")]


def test_check_mode_reports_no_change_on_a_converged_stack(lab: Lab) -> None:
    play = lab.play("site.yml", "--check", "--diff")
    assert play.rc == 0, play.output
    assert play.changed() == {}


def test_services_that_somebody_stopped_are_put_back(lab: Lab) -> None:
    written = lab.write_session("before half the services stopped")
    stopped = {
        "lb1": "keepalived",
        "lb2": "nginx",
        "app1": "app@1",
        "app2": "glusterd",
        "pg1": "'postgresql@*'",
        "pg2": "'postgresql@*'",
    }
    for host, unit in stopped.items():
        lab.run(host, f"systemctl stop {unit}")
    lab.run("lb1", "systemctl stop shared-storage-keeper; umount /srv/media")
    # With all that carries a secret written anew, and everything said aloud.
    lab.run("app3", "rm /etc/app/1.env")
    lab.run("pg3", "rm /etc/postgresql/*/main/replication.pgpass /etc/postgresql/*/main/tls/server.key")

    play = lab.play("site.yml", "--diff", "-vvv")
    assert play.rc == 0, play.output[-20000:]
    wait_healthy(lab)
    notes = {
        row["note"]
        for row in lab.request("GET", f"/sessions?consistent=1&after={written['id'] - 1}").json()["sessions"]
    }
    assert "before half the services stopped" in notes

    for secret in secrets(lab):
        assert secret not in play.output


def test_a_second_run_changes_nothing(lab: Lab) -> None:
    play = lab.play("site.yml")
    assert play.rc == 0, play.output
    assert play.changed() == {}


@pytest.fixture
def two_hosts_down(lab: Lab) -> Iterator[list[str]]:
    # app1 is where the load balancers fetched the store's description from when they mounted it.
    down = ["app1", "pg3"]
    lab.docker("kill", *(lab.container(host) for host in down))
    yield down
    lab.docker("start", *(lab.container(host) for host in down))
    wait_healthy(lab)


def test_hosts_that_are_down_are_named_and_the_rest_converges(lab: Lab, two_hosts_down: list[str]) -> None:
    lab.run("app2", "systemctl stop app@1")
    play = lab.play("site.yml")
    assert play.rc != 0
    for host in two_hosts_down:
        assert f"{host}: could not be reached, left out" in play.said(), play.output
    assert lab.replica("app2", "/readyz").status_code == 200
    assert lab.write_session("with two hosts down")["id"]
    video = lab.request("POST", "/videos", files={"file": ("v.mp4", b"still here" * 1000)}, data={"title": "v"}).json()
    for balancer in lab.lb_hosts:
        assert lab.request("GET", f"/videos/{video['id']}/file", at=balancer).content == b"still here" * 1000
    status = lab.play("status.yml")
    assert status.rc != 0
    for host in two_hosts_down:
        assert host in status.output


def test_a_volume_with_an_arbiter(lab: Lab) -> None:
    servers = [lab.addresses[host] for host in lab.app_hosts]
    arguments = {"name": "tie", "servers": servers, "brick": "/srv/gluster/tie/brick", "arbiter": True}
    for host in lab.app_hosts:
        lab.run(host, "mkdir -p /srv/gluster/tie")
    try:
        assert "gluster volume create tie replica 3 arbiter 1" in lab.module(
            "app2", "gluster_volume", arguments, check=True
        )
        assert "CHANGED" in lab.module("app2", "gluster_volume", arguments)
        assert "1 x (2 + 1) = 3" in lab.run("app1", "gluster volume info tie")
        assert "SUCCESS" in lab.module("app3", "gluster_volume", arguments)
    finally:
        lab.host("app1").run("gluster --mode=script volume stop tie force; gluster --mode=script volume delete tie")


def processes(lab: Lab) -> dict[str, str]:
    """What runs on the hosts that must not be restarted, by host and unit."""
    units = "app@1 nginx keepalived glusterd 'postgresql@*'"
    hosts = [*lab.app_hosts, *lab.lb_hosts, *lab.pg_hosts]
    return {
        host: lab.run(host, f"systemctl show {units} --property=Id,MainPID,ExecMainStartTimestamp") for host in hosts
    }


def test_a_replica_and_a_standby_more_restart_nothing_else(lab: Lab) -> None:
    def grow(groups: dict) -> None:
        groups["app_replicas"]["hosts"]["ops1"] = {"app_replicas_count": 2}
        groups["pg_replica"]["hosts"]["ops1"] = None
        # A member of the cluster can't keep its backups.
        groups["backup"]["hosts"] = {}

    before = processes(lab)
    play = lab.play("site.yml", change=grow)
    assert play.rc == 0, play.output
    assert processes(lab) == before

    replicas = {lab.request("GET", "/whoami").json()["replica"] for _ in range(50)}
    assert {"ops1-1", "ops1-2"} <= replicas
    assert lab.sql("ops1", "SELECT pg_is_in_recovery()") == "t"
    assert lab.sql("pg1", "SELECT state FROM pg_stat_replication WHERE application_name = 'ops1'") == "streaming"

    fewer = lab.play(
        "site.yml",
        change=lambda groups: (grow(groups), groups["app_replicas"]["hosts"]["ops1"].update(app_replicas_count=1)),
    )
    assert fewer.rc == 0, fewer.output
    assert (
        lab.run("ops1", "systemctl list-units 'app@*' --no-legend --plain --state=active").split()[0] == "app@1.service"
    )

    # Back to what the inventory of the lab says.
    # A pattern names running units for `stop`, and nothing for `disable`.
    units = lab.run("ops1", "systemctl list-units --plain --no-legend 'app@*' 'postgresql@*' | cut -d' ' -f1")
    lab.run("ops1", f"systemctl disable --now {' '.join(units.split())}")
    lab.run("ops1", "rm -rf /var/lib/postgresql/*/main")
    back = lab.play("site.yml")
    assert back.rc == 0, back.output
    lab.sql("pg1", "SELECT pg_drop_replication_slot('ops1')")
    wait_healthy(lab)
