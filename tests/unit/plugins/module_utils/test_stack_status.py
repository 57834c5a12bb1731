# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import Declared, Observation, plan
from ansible_collections.renfo.redundancy.plugins.module_utils.stack_status import (
    Names,
    Status,
    in_bytes,
    questions,
    stack_status,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.topology import topology

GROUPS = {
    "nginx_lb": ["lb1", "lb2"],
    "app_replicas": ["app1", "app2", "app3"],
    "shared_storage": ["app1", "app2", "app3"],
    "pg_primary": ["pg1"],
    "pg_replica": ["pg2", "pg3"],
    "monitoring": ["ops1"],
    "backup": ["ops1"],
}
NOW = 1795435200.0
HOSTS = ("lb1", "lb2", "app1", "app2", "app3", "pg1", "pg2", "pg3", "ops1")
ADDRESSES = {name: f"192.0.2.{number}" for number, name in enumerate(HOSTS, start=11)}
VIP = "192.0.2.100"
SITE = "/etc/nginx/tls/site.crt"
SERVER = "/etc/postgresql/17/main/tls/server.crt"
MEDIA = "/srv/media"


def newest_backup() -> dict[str, Any]:
    return {
        "label": "20261123-013000F",
        "kind": "full",
        "repository": 1,
        "history": 1,
        "start": NOW - 7300,
        "stop": NOW - 7200,
        "size": 5_000_000,
        "wal_first": "000000010000000000000005",
        "wal_last": "000000010000000000000006",
        "lsn_stop": "0/6000100",
        "broken": False,
    }


class World:
    """A healthy stack, to be spoilt."""

    def __init__(self, **variables: Any) -> None:
        common = {"site_name": "renfo.example", "site_vip": VIP, **variables}
        hostvars = {name: {**common, "ansible_host": ADDRESSES[name]} for name in HOSTS}
        self.site: dict[str, Any] = {**topology(GROUPS, hostvars).to_dict(), "release": {"id": "r1"}}
        assert self.site["problems"] == ()
        self.pg: dict[str, Any] = {
            "pg1": instance("primary", current_lsn="0/3000060", replication=[client("pg2"), client("pg3")]),
            "pg2": standby("pg2"),
            "pg3": standby("pg3"),
        }
        self.pg["pg1"]["slots"] = [{"name": name, "active": True, "wal_status": "reserved"} for name in ("pg2", "pg3")]
        self.pg["pg1"]["synchronous_standby_names"] = 'ANY 1 ("pg2","pg3")'
        self.hosts: dict[str, Any] = {name: self._host(name) for name in HOSTS}
        self.names: dict[str, Names] = {}
        self.pg["pg1"]["archiver"] = {"last_wal": "000000010000000000000009", "failing_for": None}
        self.backups: Any = {
            "catalogue": {
                "stanza": "main",
                "histories": {"1": "7443211234567890123"},
                "backups": [newest_backup()],
                "archives": [{"repository": 1, "history": 1, "first": "0" * 24, "last": "000000010000000000000009"}],
                "troubles": [],
                "version": 17,
                "timeline": None,
                "ancestry": [],
            },
            "units": {kind: {"ActiveState": "inactive", "Result": "success"} for kind in ("full", "diff", "incr")},
            "next_backup": "2026-11-24 01:30:00 UTC",
            "media": {
                "result": {
                    "last": {"began": NOW - 900, "ended": NOW - 890, "error": None},
                    "good": {"snapshot": "s", "began": NOW - 900, "ended": NOW - 890, "files": 3, "bytes": 700},
                    "kept": 12,
                    "pruned": 0,
                    "max_age": 3600,
                },
                "state": "inactive",
                "next": "2026-11-23 12:15:00 UTC",
            },
            "verified": {
                "result": {
                    "began": NOW - 7200,
                    "ended": NOW - 7100,
                    "ok": True,
                    "problems": [],
                    "databases": {"app": {"bytes": 4_000_000, "tables": 2, "rows": 7}},
                },
                "state": "inactive",
                "next": "2026-11-24 04:30:00 UTC",
                "max_age": 129600,
            },
        }

    def _host(self, name: str) -> dict[str, Any]:
        asked = questions(self.site, name, Names(), 17)
        bricks = [
            {"name": f"{ADDRESSES[server]}:/srv/gluster/media/brick", "online": True, "to_heal": 0}
            for server in GROUPS["shared_storage"]
        ]
        return {
            "units": {
                unit: {
                    "running": True,
                    "active": "active",
                    "since": "2026-11-23T03:10:00Z",
                    "running_in": "/srv/app/releases/r1" if unit.startswith("app@") else "/",
                }
                for unit in asked["units"]
            },
            "ready": {
                item["name"]: {"ok": True, "status": 200, "ms": 7, "body": "", "error": ""} for item in asked["ready"]
            },
            "addresses": dict.fromkeys(asked["addresses"], name == "lb1"),
            "certificates": {
                path: {"not_after": "2027-11-23T03:10:00Z", "days": 365, "error": ""} for path in asked["certificates"]
            },
            "mounts": {
                path: {"mounted": True, "answers": True, "total_bytes": 1000, "free_bytes": 600, "error": ""}
                for path in asked["mounts"]
            },
            "gluster": {"answered": True, "bricks": bricks, "error": ""} if asked["gluster_volume"] else None,
        }

    def unit(self, host: str, unit: str, active: str = "failed") -> None:
        self.hosts[host]["units"][unit].update(running=False, active=active)

    def status(self) -> Status:
        seen = {name: Observation.from_dict(data) if data else None for name, data in self.pg.items()}
        decided = plan(seen, Declared.from_dict(self.site["cluster"])).to_dict()
        return stack_status(self.site, decided, self.pg, self.hosts, self.names, self.backups, NOW)


def instance(state: str, **changes: Any) -> dict[str, Any]:
    values = {"state": state, "version": 17, "system_identifier": "7", "timeline": 1, "accepts_connections": True}
    return Observation.from_dict({**values, **changes}).to_dict()


def standby(name: str, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "received_lsn": "0/3000060",
        "standby_signal": True,
        "upstream": {"host": "pg1", "address": ADDRESSES["pg1"], "port": 5432, "slot": name},
        "streaming": True,
        "lag_seconds": 0,
    }
    return instance("standby", **{**values, **changes})


def client(name: str) -> dict[str, Any]:
    return {"name": name, "state": "streaming", "sync_state": "quorum", "lag_bytes": 0, "ssl": True}


def gluster(world: World, server: str, **changes: Any) -> None:
    """What all the servers say about the brick of one."""
    for observer in GROUPS["shared_storage"]:
        for brick in world.hosts[observer]["gluster"]["bricks"]:
            if brick["name"].startswith(f"{ADDRESSES[server]}:"):
                brick.update(changes)


def test_a_whole_stack_is_healthy() -> None:
    status = World().status()

    assert status.degraded == ()
    assert status.healthy
    assert status.notes == ()
    assert status.single_points == ()
    assert status.address == f"https://{VIP}/"
    assert status.vip_holders == ("lb1",)
    assert status.primary == "pg1"
    assert [row.problems for row in status.instances] == [(), (), ()]


Spoil = Callable[[World], None]


def replica_says_503(world: World) -> None:
    world.hosts["app2"]["ready"]["app2-1"].update(ok=False, status=503, body='{"storage":\n "stalled"}')


def replica_is_silent(world: World) -> None:
    world.hosts["app2"]["ready"]["app2-1"].update(ok=False, status=None, error="Connection refused")


def another_process_answers(world: World) -> None:
    world.unit("app2", "app@1.service")


def nobody_holds_the_vip(world: World) -> None:
    world.hosts["lb1"]["addresses"][VIP] = False


def two_hold_the_vip(world: World) -> None:
    world.hosts["lb2"]["addresses"][VIP] = True


def certificate(host: str, path: str, days: int | None) -> Spoil:
    def spoil(world: World) -> None:
        world.hosts[host]["certificates"][path] = {"not_after": "2026-12-13T00:00:00Z", "days": days, "error": "torn"}

    return spoil


def unreachable(world: World) -> None:
    world.hosts["ops1"] = None


def unobservable(world: World) -> None:
    world.hosts["ops1"] = {"error": "no Python there"}


def not_streaming(world: World) -> None:
    world.pg["pg2"]["streaming"] = False
    world.pg["pg1"]["replication"] = [client("pg3")]


def not_listed_by_the_primary(world: World) -> None:
    world.pg["pg1"]["replication"] = [client("pg3")]


def catching_up(world: World) -> None:
    world.pg["pg1"]["replication"][0]["state"] = "catchup"


def without_tls(world: World) -> None:
    world.pg["pg1"]["replication"][0]["ssl"] = False


def slot(wal_status: str) -> Spoil:
    def spoil(world: World) -> None:
        world.pg["pg1"]["slots"][0]["wal_status"] = wal_status

    return spoil


def no_slot(world: World) -> None:
    del world.pg["pg1"]["slots"][0]


def asynchronous_standby(world: World) -> None:
    world.pg["pg1"]["replication"][0]["sync_state"] = "async"


def no_synchronous_standby(world: World) -> None:
    for listed in world.pg["pg1"]["replication"]:
        listed["sync_state"] = "async"


def not_synchronous_at_all(world: World) -> None:
    world.pg["pg1"]["synchronous_standby_names"] = ""


def primary_stopped(world: World) -> None:
    world.pg["pg1"] = instance("stopped", clean_shutdown=True, accepts_connections=False)


def two_primaries(world: World) -> None:
    world.pg["pg2"] = instance("primary", timeline=2, current_lsn="0/4000000")


def primary_silent(world: World) -> None:
    world.pg["pg1"]["accepts_connections"] = False


def standby_stopped(world: World) -> None:
    world.pg["pg2"].update(state="stopped", streaming=False, accepts_connections=False)


def standby_absent(world: World) -> None:
    world.pg["pg2"] = Observation.from_dict({"state": "absent"}).to_dict()


def fenced(world: World) -> None:
    world.pg["pg2"] = instance("stopped", fenced=True, fenced_reason="pg1 is ahead", accepts_connections=False)


def marked(world: World) -> None:
    """The old primary after a failover, waiting to come back."""
    failed_over(world)
    world.pg["pg1"] = instance(
        "stopped", fenced=True, fenced_reason="failover from pg1 to pg2", current_lsn="0/1", accepts_connections=False
    )


def held(world: World) -> None:
    """The guard let the old primary not start, and now it could."""
    world.pg["pg1"] = instance(
        "stopped", fenced=True, held=True, fenced_reason="no standby\nvouches.", accepts_connections=False
    )
    for name in ("pg2", "pg3"):
        world.pg[name]["streaming"] = False


def primary_marked(world: World) -> None:
    world.pg["pg1"].update(fenced=True, fenced_reason="failover")


def standby_marked(world: World) -> None:
    world.pg["pg2"].update(fenced=True, fenced_reason="failover")


def slot_lost_and_gone(world: World) -> None:
    not_streaming(world)
    slot("lost")(world)


def failed_over(world: World) -> None:
    world.pg["pg2"] = {
        **copy.deepcopy(world.pg["pg1"]),
        "timeline": 2,
        "timeline_history": [{"timeline": 1, "switch_lsn": "0/3000000"}],
        "replication": [client("pg1"), client("pg3")],
        "slots": [{"name": name, "active": True, "wal_status": "reserved"} for name in ("pg1", "pg3")],
    }
    for name in ("pg1", "pg3"):
        upstream = {"host": "pg2", "address": ADDRESSES["pg2"], "port": 5432, "slot": name}
        world.pg[name] = standby(name, timeline=2, upstream=upstream)


def replay_paused(world: World) -> None:
    world.pg["pg2"]["replay_paused"] = True


def postgresql_not_observed(world: World) -> None:
    world.pg["pg2"] = None


def brick_offline(world: World) -> None:
    gluster(world, "app2", online=False, to_heal=None)


def brick_not_heard_by_one(world: World) -> None:
    del world.hosts["app1"]["gluster"]["bricks"][1]


def to_heal(number: int | None) -> Spoil:
    return lambda world: gluster(world, "app2", to_heal=number)


def gluster_silent(world: World) -> None:
    world.hosts["app2"]["gluster"] = {"answered": False, "bricks": [], "error": "busy"}


def mount_missing(world: World) -> None:
    world.hosts["lb2"]["mounts"][MEDIA].update(mounted=False, answers=False)


def mount_stalled(world: World) -> None:
    world.hosts["lb2"]["mounts"][MEDIA].update(answers=False, error="stat did not answer within 3 s")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(replica_says_503, 'app2-1 isn\'t ready: it answers 503 {"storage": "stalled"}', id="not ready"),
        pytest.param(replica_is_silent, "app2-1 isn't ready: Connection refused", id="replica silent"),
        pytest.param(another_process_answers, "app@1.service doesn't run (failed)", id="replica's unit down"),
        pytest.param(lambda w: w.unit("lb2", "nginx.service"), "lb2: NGINX doesn't run (failed)", id="no NGINX"),
        pytest.param(lambda w: w.unit("lb2", "nginx-media.service"), "so lb2 serves no files", id="no media"),
        pytest.param(lambda w: w.unit("lb2", "keepalived.service"), "lb2: keepalived doesn't run", id="no keepalived"),
        pytest.param(nobody_holds_the_vip, f"answers holds the virtual address {VIP}", id="nobody holds the VIP"),
        pytest.param(two_hold_the_vip, f"lb1 and lb2 hold the virtual address {VIP}", id="two hold the VIP"),
        pytest.param(certificate("lb1", SITE, 20), "site.crt ends in 20 days, on 2026-12-13", id="site certificate"),
        pytest.param(certificate("lb1", SITE, -1), "site.crt ended on 2026-12-13", id="site certificate over"),
        pytest.param(certificate("lb1", SITE, None), "site.crt can't be read (torn)", id="site certificate torn"),
        pytest.param(certificate("pg3", SERVER, 20), "server.crt ends in 20 days", id="server certificate"),
        pytest.param(unreachable, "ops1 (192.0.2.19) can't be reached", id="host unreachable"),
        pytest.param(unobservable, "can't be observed: no Python there", id="host can't be observed"),
        pytest.param(not_streaming, "pg2 doesn't stream from the primary pg1", id="standby doesn't stream"),
        pytest.param(not_listed_by_the_primary, "pg2 doesn't stream from the primary pg1", id="streams from another"),
        pytest.param(catching_up, "pg2 is not streaming yet (catchup)", id="standby catches up"),
        pytest.param(without_tls, "pg2 streams from pg1 without TLS", id="replication without TLS"),
        pytest.param(slot("lost"), "replication slot pg2 of pg2 on pg1 is lost", id="slot lost"),
        pytest.param(slot("unreserved"), "is about to be lost", id="slot nearly lost"),
        pytest.param(no_slot, "pg1 has no replication slot pg2", id="slot missing"),
        pytest.param(asynchronous_standby, "pg2 streams but no commit waits for it (async)", id="one asynchronous"),
        pytest.param(no_synchronous_standby, "no synchronous standby, so every write waits", id="none synchronous"),
        pytest.param(not_synchronous_at_all, "pg1 acknowledges commits without waiting", id="any_1 not in force"),
        pytest.param(primary_stopped, "run site.yml, which brings up pg1", id="no primary"),
        pytest.param(two_primaries, "2 primaries accept writes, expected one", id="two primaries"),
        pytest.param(primary_silent, "the primary pg1 runs but doesn't answer", id="primary silent"),
        pytest.param(standby_stopped, "PostgreSQL on pg2 is stopped: it is a stopped standby", id="standby stopped"),
        pytest.param(standby_absent, "PostgreSQL on pg2 is absent: it holds no database", id="standby absent"),
        pytest.param(fenced, "pg2 is fenced (pg1 is ahead)", id="fenced"),
        pytest.param(
            marked,
            "pg1 is fenced (failover from pg1 to pg2): it is a stopped old primary, pg2 is the primary now. Run rejoin.yml",
            id="fenced by a failover",
        ),
        pytest.param(
            held,
            "pg1 is fenced (no standby vouches): the stopped primary of this cluster. Run site.yml",
            id="held by the guard",
        ),
        pytest.param(
            primary_marked,
            "pg1 is fenced (failover): it serves, but would not start again. Remove",
            id="primary fenced",
        ),
        pytest.param(standby_marked, "still fenced (failover). Run rejoin.yml", id="standby fenced"),
        pytest.param(
            slot_lost_and_gone,
            "pg2 doesn't stream from the primary pg1: its slot on the primary pg1 is lost: it was away for too long. "
            "Run rejoin.yml",
            id="slot lost for good",
        ),
        pytest.param(replay_paused, "replay is paused on pg2", id="replay paused"),
        pytest.param(postgresql_not_observed, "pg2: PostgreSQL can't be observed", id="instance not observed"),
        pytest.param(brick_offline, "on app2 is offline as app1, app2 and app3 see it", id="brick offline"),
        pytest.param(brick_not_heard_by_one, "on app2 is offline as app1 sees it", id="brick cut off from one"),
        pytest.param(to_heal(12), "12 files on app2 wait to be copied", id="files to heal"),
        pytest.param(to_heal(None), "app2 doesn't say how many files wait", id="files to heal not known"),
        pytest.param(gluster_silent, "app2: gluster doesn't answer (busy)", id="gluster silent"),
        pytest.param(lambda w: w.unit("app2", "glusterd.service"), "app2: glusterd doesn't run", id="no glusterd"),
        pytest.param(mount_missing, "lb2: the store isn't mounted at /srv/media", id="mount missing"),
        pytest.param(mount_stalled, "doesn't answer (stat did not answer within 3 s)", id="mount stalled"),
        pytest.param(
            lambda w: w.unit("lb2", "shared-storage-keeper.service"), "keeper doesn't run (failed)", id="no keeper"
        ),
    ],
)
def test_what_is_wrong_is_said(spoil: Spoil, words: str) -> None:
    world = World()
    spoil(world)

    status = world.status()

    assert not status.healthy
    assert any(words in sentence for sentence in status.degraded), status.degraded


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(replica_says_503, id="not ready"),
        pytest.param(nobody_holds_the_vip, id="nobody holds the VIP"),
        pytest.param(without_tls, id="replication without TLS"),
        pytest.param(slot("lost"), id="slot lost"),
        pytest.param(asynchronous_standby, id="one asynchronous"),
        pytest.param(not_synchronous_at_all, id="any_1 not in force"),
        pytest.param(not_streaming, id="standby doesn't stream"),
        pytest.param(replay_paused, id="replay paused"),
        pytest.param(standby_stopped, id="standby stopped"),
        pytest.param(fenced, id="fenced"),
        pytest.param(marked, id="fenced by a failover"),
        pytest.param(primary_marked, id="primary fenced"),
        pytest.param(standby_marked, id="standby fenced"),
        pytest.param(slot_lost_and_gone, id="slot lost for good"),
        pytest.param(brick_offline, id="brick offline"),
        pytest.param(mount_stalled, id="mount stalled"),
        pytest.param(unreachable, id="host unreachable"),
    ],
)
def test_one_fault_is_one_sentence(spoil: Spoil) -> None:
    world = World()
    spoil(world)

    assert len(world.status().degraded) == 1


def test_a_certificate_with_three_weeks_left_is_well() -> None:
    world = World()
    certificate("lb1", SITE, 21)(world)

    assert world.status().healthy


def test_no_load_balancer_can_be_reached() -> None:
    world = World()
    world.hosts["lb1"] = world.hosts["lb2"] = None

    assert len(world.status().degraded) == 2


def only_one_member(site: dict[str, Any]) -> None:
    del site["members"][1:]
    site["slots"] = {"pg1": "pg1"}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(lambda site: site["load_balancers"].pop(), "lb1 is the only load balancer", id="load balancer"),
        pytest.param(lambda site: site.update(replicas_by_host={"app1": []}), "app1 is the only host", id="app host"),
        pytest.param(only_one_member, "pg1 is the only PostgreSQL", id="instance"),
        pytest.param(lambda site: site["members"].pop(), "there is one standby", id="standby that all writes wait for"),
        pytest.param(lambda site: site.update(synchronous="off"), "(pg_synchronous: off)", id="asynchronous"),
    ],
)
def test_what_has_no_second_by_choice_is_said(spoil: Callable[[dict[str, Any]], None], words: str) -> None:
    world = World()
    world.site = {**world.site, "load_balancers": [*world.site["load_balancers"]], "members": [*world.site["members"]]}
    spoil(world.site)
    world.site["cluster"]["members"] = world.site["members"]

    assert any(words in said for said in world.status().single_points)


def test_an_unreachable_host_is_one_problem_and_the_others_tell_of_its_parts() -> None:
    world = World()
    world.hosts["app2"] = world.hosts["pg2"] = None
    world.pg["pg2"] = None

    status = world.status()

    assert status.unreachable == ("app2", "pg2")
    assert [sentence.split(" ")[0] for sentence in status.degraded] == ["app2", "pg2"]
    assert (status.instances[1].role, status.instances[1].tls, status.instances[1].slot) == (
        "unknown",
        True,
        "reserved",
    )
    assert status.bricks[1].online


def test_nobody_can_tell_about_the_bricks() -> None:
    world = World()
    for host in GROUPS["shared_storage"]:
        world.hosts[host] = None

    assert [brick.online for brick in world.status().bricks] == [None, None, None]


def test_without_a_virtual_address_nobody_must_hold_it() -> None:
    world = World()
    world.site["settings"]["site_vip"] = ""
    world.hosts["lb1"] = world._host("lb1")
    world.hosts["lb2"] = world._host("lb2")

    status = world.status()

    assert status.healthy
    assert status.load_balancers[0].keepalived is None
    assert status.address == "https://192.0.2.11/"


def test_asynchronous_by_choice_is_healthy() -> None:
    world = World(pg_synchronous="off")
    not_synchronous_at_all(world)
    no_synchronous_standby(world)

    assert world.status().healthy


def test_after_a_failover_the_inventory_is_a_note_and_the_stack_healthy() -> None:
    world = World()
    failed_over(world)

    status = world.status()

    assert status.degraded == ()
    assert status.primary == "pg2"
    assert any("pg2 is the primary, the inventory says pg1" in note for note in status.notes)


def test_no_primary_and_nothing_to_start_repeats_what_the_plan_says() -> None:
    world = World()
    world.pg["pg1"] = None
    world.hosts["pg1"] = None
    for name in ("pg2", "pg3"):
        world.pg[name]["streaming"] = False

    assert any("no live primary" in said and "failover.yml" in said for said in world.status().degraded)


def run_everywhere(world: World, release: str, over: str = "") -> None:
    for name in ("app1", "app2", "app3"):
        world.hosts[name]["units"]["app@1.service"]["running_in"] = f"/srv/app/releases/{release}"
        world.hosts[name]["releases"] = {"over": over}


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ("", "the archive on this controller is r1: site.yml rolls it out"),
        ("r0", "the archive on this controller is r1: site.yml rolls it out"),
        ("r1", "which deploy.yml brought, the inventory declares r1: write into it what is to run"),
    ],
)
def test_another_release_is_a_note(over: str, said: str) -> None:
    world = World()
    run_everywhere(world, "r2", over)

    status = world.status()

    assert status.healthy
    assert [note.partition("run release r2, ")[2] for note in status.notes] == [said]


def test_different_releases_are_to_be_seen_to() -> None:
    world = World()
    world.hosts["app3"]["units"]["app@1.service"]["running_in"] = "/srv/app/releases/r0"

    assert world.status().degraded == (
        "the replicas run different releases (app1-1 and app2-1 r1; app3-1 r0): run again what was interrupted, site.yml "
        "or deploy.yml; or deploy.yml -e app_replicas_version=previous",
    )


def test_a_full_store_is_a_note() -> None:
    world = World()
    world.hosts["lb1"]["mounts"][MEDIA]["free_bytes"] = 99

    assert world.status().notes == ("the store has 99 B of 1000 B left: make room soon",)


def test_the_time_behind_is_the_standbys_own_where_the_primary_measures_none() -> None:
    world = World()
    world.pg["pg1"]["replication"][0].update(lag_bytes=16, lag_seconds=None)
    world.pg["pg2"]["lag_seconds"] = 2.5
    world.pg["pg1"]["replication"][1].update(lag_bytes=16, lag_seconds=0.3)

    assert [row.lag_seconds for row in world.status().instances] == [None, 2.5, 0.3]


def test_plain_data_and_back() -> None:
    world = World()
    mount_missing(world)
    status = world.status()

    data = json.loads(json.dumps(status.to_dict()))

    assert Status.from_dict(data) == status
    assert data["healthy"] is False


def test_a_load_balancer_is_asked_what_it_has() -> None:
    assert questions(World().site, "lb1", Names(), 17) == {
        "units": [
            "nginx.service",
            "nginx-media.service",
            "keepalived.service",
            "shared-storage-keeper.service",
            "site-firewall.service",
            "prometheus-exporter-exporter.service",
        ],
        "ready": [],
        "addresses": [VIP],
        "certificates": [SITE],
        "mounts": [MEDIA],
        "gluster_volume": "",
        "release_home": "",
    }


def test_a_host_of_the_application_is_asked_by_its_own_names() -> None:
    names = Names.from_variables(
        {"app_replicas_name": "blog", "app_replicas_ready_path": "/up", "shared_storage_volume": "films"}
    )

    asked = questions(World(app_replicas_count=2).site, "app1", names, None)

    assert asked["units"] == [
        "blog@1.service",
        "blog@2.service",
        "glusterd.service",
        "shared-storage-keeper.service",
        "site-firewall.service",
        "prometheus-exporter-exporter.service",
    ]
    assert asked["ready"] == [
        {"name": "app1-1", "url": "http://192.0.2.13:8000/up"},
        {"name": "app1-2", "url": "http://192.0.2.13:8001/up"},
    ]
    assert asked["gluster_volume"] == "films"
    assert asked["release_home"] == "/srv/blog"


def test_a_store_of_their_own_has_no_bricks() -> None:
    world = World()
    world.names = dict.fromkeys(HOSTS, Names(backend="mount"))

    assert questions(world.site, "app1", Names(backend="mount"), None)["gluster_volume"] == ""
    assert world.status().bricks == ()


@pytest.mark.parametrize(
    ("version", "units"),
    [(17, ["postgresql@17-main.service", "pgbackrest.service"]), (None, ["pgbackrest.service"])],
)
def test_a_member_is_asked_once_its_version_is_known(version: int | None, units: list[str]) -> None:
    asked = questions(World().site, "pg1", Names(firewall=False), version)

    assert asked["units"] == [*units, "prometheus-exporter-exporter.service"]
    assert asked["certificates"] == ([SERVER] if version else [])


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (200 * 1024**2, "200 MiB"), (3 * 1024**4, "3.0 TiB")],
)
def test_bytes_for_people(number: int, text: str) -> None:
    assert in_bytes(number) == text


def test_what_is_backed_up() -> None:
    database, media, verified = World().status().backups
    assert (database.host, database.count, database.newest, database.size) == ("ops1", 1, "full", 5_000_000)
    assert (database.took, database.next) == (100, "2026-11-24 01:30:00 UTC")
    assert (media.newest, media.count, media.size, media.took) == ("3 files", 12, 700, 10)
    assert (verified.newest, verified.took, verified.size) == ("restored", 100, 4_000_000)


def failed(world: World, *problems: str) -> None:
    world.backups["verified"]["result"].update(ok=False, problems=list(problems))


def never_verified(world: World, hours: int) -> None:
    world.backups["verified"]["result"] = None
    world.backups["catalogue"]["backups"][0].update(stop=NOW - hours * 3600)
    # A newer one, which is no reason to wait again.
    world.backups["catalogue"]["backups"].append(newest_backup())


def stopped_server(world: World) -> None:
    world.hosts["pg2"]["units"]["pgbackrest.service"]["running"] = False


def nothing_archived(world: World) -> None:
    world.pg["pg1"]["archiver"] = None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda world: world.backups["catalogue"]["backups"].clear(), "ops1 keeps no backup of the database"),
        (lambda world: world.backups["catalogue"]["backups"][0].update(broken=True), "keeps no backup"),
        (lambda world: world.backups["catalogue"]["backups"][0].update(stop=NOW - 37 * 3600), "37 hours old"),
        (lambda world: world.backups["units"]["diff"].update(ActiveState="failed"), "the last diff backup failed"),
        (lambda world: world.backups["catalogue"]["troubles"].append("repository 1: on fire"), "1: on fire"),
        (
            lambda world: world.pg["pg1"]["archiver"].update(last_wal="00000001000000000000000C"),
            "WAL was dropped: the archive ends with 000000010000000000000009",
        ),
        # They hang.
        (
            lambda world: (
                world.backups["media"]["result"]["good"].update(began=NOW - 7200),
                world.backups["media"].update(state="activating"),
            ),
            "120 minutes old",
        ),
        (
            lambda world: (
                world.backups["verified"]["result"].update(began=NOW - 40 * 3600),
                world.backups["verified"].update(state="activating"),
            ),
            "for 40 hours",
        ),
        (lambda world: setattr(world, "backups", {"error": "no passphrase"}), "can't be observed: no passphrase"),
        (lambda world: world.backups["media"].update(result=None), "ops1 keeps no snapshot of the store"),
        (
            lambda world: world.backups["media"]["result"]["last"].update(error="no store"),
            "of the store failed: no store",
        ),
        (
            lambda world: world.backups["media"]["result"]["good"].update(began=NOW - 3700),
            "61 minutes old, expected 60",
        ),
        (lambda world: failed(world, "page 7 is torn"), "failed: page 7 is torn. Run backup.yml -e backup_verify=true"),
        (lambda world: failed(world, *"abcde"), "failed (and 2 more): a; b; c. Run"),
        (lambda world: world.backups["verified"]["result"].update(began=NOW - 37 * 3600), "for 37 hours, expected 36"),
        (lambda world: never_verified(world, 37), "no backup was restored to verify it for 37 hours"),
        (lambda world: world.pg["pg1"]["archiver"].update(failing_for=301), "pg1 can't archive WAL for 5 minutes"),
        (nothing_archived, "pg1 archives no WAL"),
        (stopped_server, "pg2: pgbackrest.service doesn't run"),
    ],
)
def test_what_is_wrong_with_backups_is_said(spoil: Callable[[World], None], words: str) -> None:
    world = World()
    spoil(world)
    (problem,) = world.status().degraded
    assert words in problem


@pytest.mark.parametrize(
    "spoil",
    [
        # The first one is on its way.
        lambda world: (
            world.backups["catalogue"]["backups"].clear(),
            world.backups["units"]["full"].update(ActiveState="activating"),
        ),
        lambda world: world.pg["pg1"]["archiver"].update(failing_for=60),
        lambda world: world.backups["catalogue"]["backups"][0].update(stop=NOW - 35 * 3600),
        lambda world: world.backups["media"].update(result=None, state="activating"),
        lambda world: never_verified(world, 35),
    ],
)
def test_what_passes_by_itself_is_no_problem(spoil: Callable[[World], None]) -> None:
    world = World()
    spoil(world)
    assert world.status().degraded == ()


def test_a_host_that_was_not_set_up_keeps_nothing() -> None:
    world = World()
    world.backups = None
    said = world.status().degraded
    assert ["keeps no backup" in said[0], "keeps no snapshot" in said[1]] == [True, True]
    assert [row.newest for row in world.status().backups] == [None, None, "never"]


def test_a_site_without_backups_has_a_single_point() -> None:
    world = World()
    world.site["backup"] = None
    nothing_archived(world)
    status = world.status()
    assert (status.degraded, status.backups) == ((), ())
    assert any("there are no backups" in said for said in status.single_points)


def test_what_no_redundancy_depends_on_is_a_note() -> None:
    world = World()
    assert world.status().notes == ()
    for unit in ("site-firewall.service", "prometheus.service"):
        world.hosts["ops1"]["units"][unit].update(running=False, active="failed")
    # Not asked for, or not heard of: nothing is said.
    world.hosts["pg3"] = None
    found = world.status()
    assert [note.partition(":")[0] for note in found.notes] == ["ops1", "ops1"]
    assert "ops1: everybody is let in to every port, for site-firewall.service is failed" in found.notes[0]
    assert "nothing is watched from there" in found.notes[1]
    world = World()
    world.names = {"lb2": Names.from_variables({"firewall_enabled": False})}
    world.hosts["lb2"]["units"]["site-firewall.service"].update(running=False, active="inactive")
    assert world.status().notes == ()
