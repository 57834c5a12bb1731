# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import (
    Lsn,
    Observation,
    ReplicationClient,
    Slot,
    State,
    TimelineSwitch,
    Upstream,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.removal import (
    Leaving,
    Removal,
    counted_on,
    mount_unit,
    removal,
)

ALL = ["nginx_lb", "app_replicas", "shared_storage", "pg_primary", "pg_replica", "monitoring", "backup"]
SITE: dict[str, Any] = {
    "settings": {"site_media_directory": "/srv/media"},
    "cluster": {
        "synchronous": "any_1",
        "members": [
            {"name": name, "address": f"at-{name}", "port": 5432, "role": "primary" if name == "pg1" else "replica"}
            for name in ("pg1", "pg2")
        ],
    },
    "members": [{"name": "pg1"}, {"name": "pg2"}],
    "slots": {"pg1": "pg1", "pg2": "pg2"},
    "load_balancers": [{"name": "lb1"}],
    "replicas_by_host": {"app1": [], "app2": []},
    "storage_servers": [{"name": "app1"}, {"name": "app2"}],
    "storage_addresses": ["at-app1", "at-app2", "at-lb1"],
    "removed": {},
}
PLAN: dict[str, Any] = {
    "primary": "pg1",
    "primary_observed": True,
    "problems": [],
    "members": {"pg1": {"action": "none"}},
}
NOBODY: dict[str, Any] = {
    "primary": None,
    "primary_observed": False,
    "problems": ["no member is a primary"],
    "members": {},
}
PRIMARY = Observation(
    State.PRIMARY,
    version=17,
    system_identifier="s1",
    timeline=3,
    replication=tuple(ReplicationClient(name, state="streaming") for name in ("pg2", "pg3")),
)
STANDBY = Observation(State.STANDBY, version=17, system_identifier="s1", timeline=3, standby_signal=True)
ABSENT = Observation(State.ABSENT)


def host(name: str, *groups: str, stays: tuple[str, ...] = ()) -> dict[str, Any]:
    leaves = list(groups) or ALL
    slot = name if "pg_replica" in leaves else ""
    return {"name": name, "address": f"at-{name}", "whole": not groups, "groups": leaves, "stays": stays, "slot": slot}


def decide(
    leaving: dict[str, Any],
    seen: Observation | None = ABSENT,
    plan: dict[str, Any] = PLAN,
    primary: Observation = PRIMARY,
    **changes: Any,
) -> Removal:
    name = leaving["name"]
    arguments: dict[str, Any] = {
        "answered": ["lb1", "app1", "pg1", "pg2"],
        "run": [name],
        "application": dict.fromkeys([name, "lb1", "app1", "app2"], "app"),
        "running": {},
        "pool": [],
        "stores": [],
        **changes,
    }
    observed = {"pg1": primary, name: seen}
    return removal({**SITE, "removed": {name: leaving}}, plan, observed, **arguments)


def test_a_standby() -> None:
    found = decide(host("pg3"), STANDBY)
    assert found.refusals == ()
    assert found.slots == ("pg3",)
    assert found.servers == ()
    leaving = found.hosts["pg3"]
    assert leaving.database == ("pg-guard@17-main.service", "postgresql@17-main.service", "pgbackrest.service")
    # It would start as a standby.
    assert not leaving.fence


def test_an_old_primary_is_fenced() -> None:
    old = dataclasses.replace(STANDBY, state=State.STOPPED, standby_signal=False, timeline=2)
    assert decide(host("pg3"), old).hosts["pg3"].fence
    assert decide(host("pg3"), dataclasses.replace(old, state=State.PRIMARY)).refusals == ()


def test_a_load_balancer_gives_the_address_up_first() -> None:
    leaving = decide(host("lb2", "nginx_lb")).hosts["lb2"]
    assert leaving == Leaving(
        (
            "nginx.service",
            "keepalived.service",
            "nginx-media.service",
            "shared-storage-keeper.service",
            "srv-media.mount",
        ),
        (),
        (),
        ("prometheus-nginx-exporter.service", "mtail.service"),
        None,
        fence=False,
    )


def test_who_stays_a_client_keeps_the_store() -> None:
    leaving = decide(host("app3", "app_replicas", stays=("backup",))).hosts["app3"]
    assert leaving.first == ("app@*.service",)


def test_a_copy_of_the_store() -> None:
    found = decide(host("app3", "shared_storage", stays=("app_replicas",)), pool=["at-app3"], stores=["app3"])
    assert found.servers == ("at-app3",)
    assert found.hosts["app3"].store == ("glusterd.service",)
    assert found.hosts["app3"].first == ()
    # With the store it had nothing to do.
    assert decide(host("pg3"), STANDBY, pool=["at-app1"]).servers == ()


def test_the_backup_host_keeps_what_members_need() -> None:
    leaving = decide(host("ops1", "pg_replica", stays=("backup",)), STANDBY).hosts["ops1"]
    assert leaving.database == ("pg-guard@17-main.service", "postgresql@17-main.service")


def test_one_that_is_gone() -> None:
    found = decide(host("pg3"), None)
    assert found.hosts == {}
    assert found.slots == ("pg3",)
    assert found.refusals == ()
    assert "pg3 was removed and can't be reached" in found.notes[0]


def test_one_that_this_run_leaves_out() -> None:
    found = decide(host("pg3"), STANDBY, run=["pg1"])
    assert (found.hosts, found.slots, found.refusals, found.notes) == ({}, (), (), ())


@pytest.mark.parametrize(
    ("leaving", "seen", "plan", "changes", "words"),
    [
        pytest.param(
            host("pg3"),
            dataclasses.replace(PRIMARY),
            NOBODY,
            {},
            "pg3 is to be removed and is a primary instance, and none of the others is a primary. Put pg3 back where it "
            "was in the inventory, hand the role over with switchover.yml -e switchover_to=pg1, then remove it.",
            id="the primary",
        ),
        pytest.param(
            host("pg3"), None, NOBODY, {}, "If it was the primary and is lost, failover.yml", id="perhaps the primary"
        ),
        pytest.param(
            host("pg3"), PRIMARY, PLAN, {}, "it accepts writes as a primary", id="a second primary, as far as the first"
        ),
        pytest.param(
            host("pg3"),
            dataclasses.replace(PRIMARY, system_identifier="s2", timeline=1),
            PLAN,
            {},
            "it accepts writes as a primary",
            id="another cluster's primary",
        ),
        pytest.param(
            host("pg3"),
            STANDBY,
            {**PLAN, "primary_observed": False, "members": {"pg1": {"action": "bootstrap"}}},
            {},
            "it holds a database while no member does",
            id="the last one with data",
        ),
        pytest.param(
            host("pg3"),
            STANDBY,
            PLAN,
            {"primary": dataclasses.replace(PRIMARY, replication=PRIMARY.replication[1:])},
            "it is the only standby that streams from pg1",
            id="the last one that streams",
        ),
        pytest.param(
            host("lb2"),
            ABSENT,
            PLAN,
            {"answered": ["app1"], "running": {"lb2": ["keepalived.service"]}},
            "no other load balancer serves the site now (lb1)",
            id="the last load balancer",
        ),
        pytest.param(
            host("app3"),
            ABSENT,
            PLAN,
            {"answered": ["lb1"], "running": {"app3": ["app@1.service"]}},
            "no other host of the application serves the site now (app1, app2)",
            id="the last copy",
        ),
        pytest.param(
            host("app3"),
            ABSENT,
            PLAN,
            {"running": {"app3": ["app@1.service"], "app1": ["nginx.service"]}},
            "no other host of the application serves the site now (app1, app2)",
            id="the last copy until others are set up",
        ),
        pytest.param(
            host("pg3"),
            None,
            PLAN,
            {"primary": dataclasses.replace(PRIMARY, replication=PRIMARY.replication[1:])},
            "it is the only standby that streams from pg1",
            id="the last one that streams, which the controller can't reach",
        ),
        pytest.param(
            host("pg3"),
            dataclasses.replace(STANDBY, state=State.STOPPED, timeline=4),
            PLAN,
            {},
            "it is on timeline 4, later than timeline 3 of pg1",
            id="one that was promoted",
        ),
    ],
)
def test_refusals(
    leaving: dict[str, Any], seen: Observation | None, plan: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    (refusal,) = decide(leaving, seen, plan, **changes).refusals
    assert words in refusal


def test_a_slot_that_nobody_accounts_for_is_told() -> None:
    slots = (
        Slot("pg2", active=True),
        Slot("pg3"),
        Slot("pg9"),
        Slot("cdc", kind="logical"),
        Slot("backup", active=True),
    )
    found = decide(host("pg3"), STANDBY, primary=dataclasses.replace(PRIMARY, slots=slots))
    (note,) = found.notes
    assert note.startswith("The slot pg9 on pg1 holds WAL back")


@pytest.mark.parametrize(
    ("directory", "unit"), [("/srv/media", "srv-media.mount"), ("/srv/my-files/", r"srv-my\x2dfiles.mount")]
)
def test_the_unit_of_a_mount(directory: str, unit: str) -> None:
    assert mount_unit(directory) == unit


def test_who_watched_and_what_told_how_it_was() -> None:
    leaving = decide(host("ops2")).hosts["ops2"]
    assert "prometheus-alertmanager.service" in leaving.first
    assert leaving.last[-1] == "stack-metrics.service"
    # A host that stays goes on telling.
    partly = decide(host("ops1", "monitoring", stays=("backup",))).hosts["ops1"]
    assert "prometheus.service" in partly.first
    assert partly.last == ()


def test_a_copy_that_leaves_is_let_in_until_the_others_are_whole() -> None:
    found = decide(host("app3"), pool=["at-app1", "at-app2", "at-app3"])
    assert found.servers == ("at-app3",)
    (rule,) = found.firewall["app1"]
    assert rule.ports == ("24007", "49152-60999")
    assert rule.sources == ("at-app3",)
    assert found.firewall["app2"] == (rule,)
    assert found.firewall["app3"][0].sources == ("at-app1", "at-app2", "at-lb1", "at-app3")
    assert "lb1" not in found.firewall
    # One that is dead would end the run.
    assert set(decide(host("app3"), None, pool=["at-app1", "at-app2", "at-app3"]).firewall) == {"app1", "app2"}
    assert decide(host("app3"), pool=["at-app1", "at-app2"]).firewall == {}


START: dict[str, Any] = {**PLAN, "primary_observed": False, "members": {"pg1": {"action": "start"}}}
BOOTSTRAP: dict[str, Any] = {**START, "members": {"pg1": {"action": "bootstrap"}}}
STOPPED = Observation(
    State.STOPPED,
    version=17,
    system_identifier="s1",
    timeline=3,
    current_lsn=Lsn(100),
    clean_shutdown=True,
)
FOLLOWS = dataclasses.replace(STANDBY, current_lsn=Lsn(120), upstream=Upstream(host="pg1"))


@pytest.mark.parametrize(
    ("plan", "pg1", "pg2", "pg3", "words"),
    [
        pytest.param(START, STOPPED, ABSENT, None, "no standby that was observed follows pg1", id="perhaps promoted"),
        pytest.param(
            START,
            STOPPED,
            FOLLOWS,
            dataclasses.replace(STOPPED, timeline=4),
            "it is a stopped old primary, pg3 is the primary now",
            id="promoted, and stopped",
        ),
        pytest.param(
            START,
            STOPPED,
            FOLLOWS,
            dataclasses.replace(FOLLOWS, current_lsn=Lsn(10_000)),
            "what pg3 holds would be given up",
            id="ahead",
        ),
        pytest.param(START, STOPPED, FOLLOWS, None, None, id="another one vouches for the primary"),
        pytest.param(START, STOPPED, ABSENT, ABSENT, None, id="one without data"),
        pytest.param(BOOTSTRAP, ABSENT, ABSENT, None, "may hold the database", id="perhaps the database"),
        pytest.param(BOOTSTRAP, ABSENT, ABSENT, ABSENT, None, id="no database anywhere"),
    ],
)
def test_without_a_primary_who_leaves_counts_as_a_member(
    plan: dict[str, Any], pg1: Observation, pg2: Observation, pg3: Observation | None, words: str | None
) -> None:
    found = removal(
        {**SITE, "removed": {"pg3": host("pg3")}},
        plan,
        {"pg1": pg1, "pg2": pg2, "pg3": pg3},
        answered=["pg1", "pg2"],
        run=["pg3"],
        application=dict.fromkeys(["pg3", "lb1", "app1", "app2"], "app"),
        running={},
        pool=[],
        stores=[],
    )
    assert [words in refusal for refusal in found.refusals if words] == ([True] if words else [])
    assert bool(found.refusals) == bool(words)


def members(setting: str = 'ANY 1 ("pg2")', flushed: int = 100, **changes: Any) -> dict[str, Observation | None]:
    streams = ReplicationClient("pg2", state="streaming", flush_lsn=Lsn(flushed))
    primary = Observation(
        State.PRIMARY,
        system_identifier="s1",
        timeline=3,
        timeline_history=(TimelineSwitch(2, Lsn(90)),),
        synchronous_standby_names=setting,
        replication=(streams,),
        accepts_connections=True,
    )
    return {"pg1": dataclasses.replace(primary, **changes), "pg2": STANDBY}


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (members(), None),
        (members('ANY 1 ("pg2", "pg33", "old-pg3")'), None),
        (members('ANY 1 ("pg2", "PG3")'), "pg1 may still wait for it"),
        (members("FIRST 2 (pg3, pg2)"), "pg1 may still wait for it"),
        (members(flushed=99), "it holds WAL up to 0/64, and no other standby does (0/63)"),
        (members(replication=()), "none streams"),
        ({**members(), "pg1": None}, "answered as the primary"),
        (members(accepts_connections=False), "answered as the primary"),
    ],
)
def test_who_is_counted_on_is_not_stopped(after: dict[str, Observation | None], words: str | None) -> None:
    last = dataclasses.replace(STANDBY, received_lsn=Lsn(100))
    found = counted_on(SITE, {"pg3": last}, after)
    assert (words in found["pg3"]) if words else not found
    # Stopped already.
    assert counted_on(SITE, {"pg3": dataclasses.replace(last, state=State.STOPPED)}, after) == {}


def test_without_synchronous_commits_nobody_is_waited_for() -> None:
    site = {**SITE, "cluster": {**SITE["cluster"], "synchronous": "off"}}
    last = dataclasses.replace(STANDBY, received_lsn=Lsn(100))
    assert counted_on(site, {"pg3": last}, members("", flushed=99)) == {}


@pytest.mark.parametrize("changes", [{"system_identifier": "s2"}, {"timeline": 2}, {"timeline": 1}])
def test_what_it_holds_of_another_history_it_never_confirmed(changes: dict[str, Any]) -> None:
    last = dataclasses.replace(STANDBY, received_lsn=Lsn(100), **changes)
    assert counted_on(SITE, {"pg3": last}, members(flushed=95)) == {}
