"""Hosts come and go, in every tier: what they bring is used, and of what leaves nothing is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cluster import wait
from tests.support.lab import Lab, leave

NEW = {"lb3": 13, "app4": 24, "pg4": 34}


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

    def shrink(groups: dict) -> None:
        groups["monitoring"]["hosts"]["ops1"]["site_removed_from"] = ["app_replicas", "pg_replica"]

    # Back to what the inventory of the lab says; ops1 stays what it is there.
    back = lab.play("site.yml", change=shrink)
    assert back.rc == 0, back.output
    assert lab.sql("pg1", "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'ops1'") == "0"
    assert lab.run("ops1", "systemctl list-units --plain --no-legend --state=active 'app@*' 'postgresql@*'") == ""
    assert lab.run("ops1", "systemctl is-active pgbackrest srv-media.mount").split() == ["active", "active"]
    again = lab.play("site.yml", change=shrink)
    assert again.changed() == {}, again.output
    lab.run("ops1", "rm -rf /var/lib/postgresql/*/main")
    lab.wait_healthy()


def others(groups: dict[str, Any]) -> None:
    """lb3, app4 and pg4 instead of lb2, app3 and pg3."""
    leave(groups, "lb2", "app3", "pg3")
    groups["nginx_lb"]["hosts"]["lb3"] = {"lab_octet": NEW["lb3"]}
    groups["app_replicas"]["hosts"]["app4"] = {"lab_octet": NEW["app4"], "lab_disk": "/srv/gluster"}
    groups["shared_storage"]["hosts"]["app4"] = None
    groups["pg_replica"]["hosts"]["pg4"] = {"lab_octet": NEW["pg4"], "lab_disk": "/var/lib/postgresql"}


def back(groups: dict[str, Any]) -> None:
    """The lab as it was; what came is gone for good."""
    groups["removed"] = {"hosts": {name: {"lab_octet": octet} for name, octet in NEW.items()}}
    groups["lab"]["children"]["removed"] = {}


@pytest.fixture
def more_hosts(lab: Lab) -> Iterator[dict[str, str]]:
    """Three hosts more, empty ones. However the test ends, they are destroyed."""
    addresses = {name: f"{lab.subnet}.{octet}" for name, octet in NEW.items()}
    lab.addresses |= addresses
    play = lab.play("../lab/up.yml", change=others)
    assert play.rc == 0, play.output
    yield addresses
    for name in NEW:
        lab.addresses.pop(name)
        lab.docker("rm", "--force", "--volumes", lab.container(name))


def traces(lab: Lab, names: list[str]) -> list[str]:
    """Where *names*, or their addresses, are still mentioned by hosts of the lab, and by the controller."""
    words = "\\|".join(lab.addresses[name].replace(".", "\\.") + "\\b" for name in names)
    places = {
        # (The upstream that it had as a standby means nothing to a primary.)
        "pg1": "/etc/postgresql/*/main/pg_hba.conf /etc/postgresql/*/main/*.pgpass /etc/pg-guard /etc/pgbackrest",
        "ops1": "/etc/pgbackrest",
        "lb1": "/etc/nginx /etc/keepalived",
        "app1": "/etc/app",
    }
    found = [
        line
        for host, folders in places.items()
        for line in lab.run(host, f"grep -rl '{words}' {folders} 2>/dev/null; true").splitlines()
    ]
    # (glusterd keeps what an option was before under another name, and does nothing with it.)
    pool = lab.run(
        "app1", f"{{ gluster volume info; gluster peer status; }} | grep -v '^old[.]' | grep '{words}'; true"
    )
    found += pool.splitlines()
    settings = lab.sql(
        "pg1",
        "SELECT current_setting('synchronous_standby_names') || string_agg(slot_name, ' ') FROM pg_replication_slots",
    )
    found += [name for name in names if name in settings]
    folder = lab.directory.parents[2] / f"inventories/lab/.secrets/{lab.name}/tls"
    return found + [path.name for name in names for path in folder.glob(f"*{name}.*")]


def files(lab: Lab, host: str) -> str:
    """Digest of every file of a host's copy of the store."""
    return lab.run(
        host,
        "cd /srv/gluster/media/brick && find . -path ./.glusterfs -prune -o -type f -print0 | sort -z"
        " | xargs -0r sha256sum | sha256sum",
    )


def test_a_host_of_each_tier_is_replaced_and_comes_back(lab: Lab, more_hosts: dict[str, str]) -> None:
    written = lab.write_session("before hosts were replaced")
    videos = [
        lab.request("POST", "/videos", files={"file": ("v.mp4", b"v" * size)}, data={"title": str(size)}).json()["id"]
        for size in (1, 1000, 300_000)
    ]

    # Two at a time leave only one copy: refused before anything is changed.
    both = lab.play(
        "site.yml",
        change=lambda groups: (
            others(groups),
            leave(groups, "app2"),
            groups["shared_storage"]["hosts"].update(lb3=None),
        ),
    )
    assert both.rc != 0
    assert "Nothing was changed." in both.said(), both.output

    # The primary is handed over first.
    first = lab.play(
        "site.yml",
        change=lambda groups: (leave(groups, "pg1"), move_primary(groups)),
        extra={"pg_synchronous": "any_1"},
    )
    assert first.rc != 0
    assert "switchover.yml -e switchover_to=pg2" in first.said(), first.output

    # Alive ones are stopped, and nothing of them is left.
    play = lab.play("site.yml", change=others)
    assert play.rc == 0, play.output
    assert traces(lab, ["lb2", "app3", "pg3"]) == []
    assert lab.sql("pg1", "SHOW synchronous_standby_names") == 'ANY 1 ("pg2", "pg4")'
    assert lab.run("lb2", f"ip -brief address | grep -c {lab.vip}; true") == "0"
    for host, unit in {"lb2": "keepalived", "app3": "app@1", "pg3": "'postgresql@*'"}.items():
        assert lab.run(host, f"systemctl list-units --plain --no-legend --state=active {unit}") == ""
    assert files(lab, "app4") == files(lab, "app1")
    assert {"app4-1"} <= {lab.request("GET", "/whoami", at="lb3").json()["replica"] for _ in range(30)}
    again = lab.play("site.yml", change=others)
    assert again.changed() == {}, again.output
    assert lab.play("status.yml", change=others).rc == 0

    # A reboot brings nothing back.
    lab.docker("restart", lab.container("pg3"))
    wait(lambda: lab.host("pg3").run("systemctl is-system-running --wait").rc >= 0, 60, lambda: "pg3 doesn't answer")
    assert lab.host("pg3").run("pgrep -u postgres -x postgres").rc == 1

    # The other way round; those that go are dead, and what comes back still has what it had.
    lab.docker("kill", *(lab.container(name) for name in NEW))
    refused = lab.play("site.yml", change=back)
    assert refused.rc != 0
    assert "app3: /srv/gluster/media/brick holds files" in refused.said(), refused.output
    lab.run("app3", "mv /srv/gluster/media/brick /srv/gluster/media/brick.old")
    play = lab.play("site.yml", change=back)
    assert play.rc == 0, play.output
    assert "was removed and can't be reached" in play.said()
    assert traces(lab, list(NEW)) == []
    lab.wait_healthy()
    assert files(lab, "app3") == files(lab, "app1") == files(lab, "app2")
    for video, size in zip(videos, (1, 1000, 300_000), strict=True):
        assert lab.request("GET", f"/videos/{video}/file").content == b"v" * size
    assert lab.sql("pg3", f"SELECT note FROM sessions WHERE id = {written['id']}") == "before hosts were replaced"
    lab.run("app3", "rm -rf /srv/gluster/media/brick.old")


def move_primary(groups: dict[str, Any]) -> None:
    """pg2 declared as the primary, though pg1 is."""
    groups["pg_primary"]["hosts"] = {"pg2": groups["pg_replica"]["hosts"].pop("pg2")}


def test_a_storage_host_that_lost_its_disk_is_filled_again(lab: Lab) -> None:
    before = files(lab, "app1")
    lab.rebuild("app2")
    play = lab.play("site.yml")
    assert play.rc == 0, play.output
    lab.wait_healthy()
    wait(lambda: files(lab, "app2") == before, 120, lambda: "the copy on app2 is not whole")
    again = lab.play("site.yml")
    assert again.changed() == {}, again.output
