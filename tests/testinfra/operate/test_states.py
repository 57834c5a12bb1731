"""site.yml in the states that it meets in operation, not only the happy one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab import Lab, leave
from tests.support.rounds import rounds_only
from tests.support.writer import Writer


def secrets(lab: Lab) -> list[str]:
    """Every generated secret: passwords whole, and a line out of the middle of each key."""
    folder = lab.directory.parents[2] / f"inventories/lab/.secrets/{lab.name}"
    words = [path.read_text().strip() for path in folder.iterdir() if path.is_file()]
    return words + [Path(key).read_text().splitlines()[1] for key in folder.rglob("*.key")]


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
    lab.wait_healthy()
    notes = {
        row["note"]
        for row in lab.request("GET", f"/sessions?consistent=1&after={written['id'] - 1}").json()["sessions"]
    }
    assert "before half the services stopped" in notes

    for secret in secrets(lab):
        assert secret not in play.output


def test_check_mode_finds_nothing_left_to_do(lab: Lab) -> None:
    """What a second run would change; `default` has one."""
    play = lab.play("site.yml", "--check", "--diff")
    assert play.rc == 0, play.output
    assert play.changed() == {}


def test_a_load_balancer_that_is_stopped_loses_nobodys_request(lab: Lab) -> None:
    holder = next(host for host in lab.lb_hosts if f" {lab.vip}/" in lab.run(host, "ip -oneline address"))
    with Writer(lab, interval=0.05) as writer:
        writer.wait_acknowledged()
        lab.run(holder, "systemctl stop nginx")
        writer.wait_acknowledged()
        lab.run(holder, "systemctl start nginx")
        writer.wait_acknowledged()
    assert writer.failed_reads() == []
    assert writer.failed_writes() == []
    assert writer.lost() == set()
    assert "nginx_drain" not in lab.run(holder, "nft list tables")
    assert f" {lab.vip}/" not in lab.run(holder, "ip -oneline address")


@pytest.fixture
def two_hosts_down(lab: Lab) -> Iterator[list[str]]:
    # app1 is where the load balancers fetched the store's description from when they mounted it.
    down = ["app1", "pg3"]
    lab.docker("kill", *(lab.container(host) for host in down))
    yield down
    lab.docker("start", *(lab.container(host) for host in down))
    lab.wait_healthy()


@rounds_only
def test_hosts_that_are_down_are_named_and_the_rest_converges(lab: Lab, two_hosts_down: list[str]) -> None:
    lab.run("app2", "systemctl stop app@1")
    play = lab.play("site.yml")
    assert play.rc != 0
    assert f"{', '.join(two_hosts_down)}: could not be reached, left out" in play.said(), play.output
    assert lab.replica("app2", "/readyz").status_code == 200
    assert lab.write_session("with two hosts down")["id"]
    video = lab.request("POST", "/videos", files={"file": ("v.mp4", b"still here" * 1000)}, data={"title": "v"}).json()
    for balancer in lab.lb_hosts:
        assert lab.request("GET", f"/videos/{video['id']}/file", at=balancer).content == b"still here" * 1000
    status = lab.play("status.yml")
    assert status.rc != 0
    for host in two_hosts_down:
        assert host in status.output


def test_a_standby_is_removed_and_added_again(lab: Lab) -> None:
    written = lab.write_session("before pg3 left")
    folder = lab.directory.parents[2] / f"inventories/lab/.secrets/{lab.name}/tls"
    address = lab.addresses["pg3"]
    play = lab.play("site.yml", change=lambda groups: leave(groups, "pg3"), extra={"pg_synchronous": "any_1"})
    try:
        assert play.rc == 0, play.output
        assert "pg3 was removed" in play.said()
        assert lab.sql("pg1", "SELECT string_agg(slot_name, ',') FROM pg_replication_slots") == "pg2"
        assert lab.sql("pg1", "SHOW synchronous_standby_names") == 'ANY 1 ("pg2")'
        assert address not in lab.run("pg1", "cat /etc/postgresql/*/main/pg_hba.conf /etc/pg-guard/*")
        assert address not in lab.run("ops1", "cat /etc/pgbackrest/pgbackrest.conf")
        assert list(folder.glob("*pg3.*")) == []
        assert lab.host("pg3").run("pgrep -u postgres -x postgres").rc == 1
        assert lab.write_session("while pg3 was away")["id"] > written["id"]
    finally:
        back = lab.play("site.yml")
    assert back.rc == 0, back.output
    lab.wait_healthy()
    assert lab.sql("pg3", f"SELECT note FROM sessions WHERE id = {written['id']}") == "before pg3 left"


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
