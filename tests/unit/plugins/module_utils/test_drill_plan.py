# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_faults import CATALOGUE
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_plan import (
    Request,
    aim,
    drill_text,
    plan_drill,
)
from drill_site import HOSTS, STATUS, TOPOLOGY

POWER = {
    "drill_power_off_command": "off",
    "drill_power_on_command": "on",
    "drill_data_disk": True,
    "drill_bad_release": "bad.tar.gz",
}
VARIABLES = {name: {**POWER, **({"pg_fence_command": "fence"} if name.startswith("pg") else {})} for name in HOSTS}


def request(**asked: Any) -> Request:
    return Request(**{"inventories": ("lab",), "may_break": "lab", **asked})


def planned(topology: dict[str, Any] = TOPOLOGY, variables: Any = VARIABLES, **asked: Any) -> dict[str, Any]:
    return plan_drill(request(**asked), topology, variables).to_dict()


def aimed(
    fault: str,
    draw: float = 0.0,
    variables: Any = VARIABLES,
    budgets: Any = None,
    alerts: bool = False,
    topology: dict[str, Any] = TOPOLOGY,
) -> dict[str, Any]:
    return aim({"number": 1, "fault": fault, "draw": draw}, topology, STATUS, variables, budgets or {}, alerts)


@pytest.mark.parametrize("named", ["", "production"])
def test_nothing_is_broken_that_was_not_named(named: str) -> None:
    plan = planned(may_break=named)
    assert not plan["rounds"]
    assert "drill.yml -e drill_i_may_break=lab" in plan["refusals"][0]
    assert drill_text(plan) == "Nothing was broken."


@pytest.mark.parametrize("inventories", [("",), (), ("lab", "production")])
def test_what_can_not_be_named_is_not_broken(inventories: tuple[str, ...]) -> None:
    plan = planned(inventories=inventories, may_break=inventories[0] if inventories else "")
    assert not plan["rounds"]
    assert "expected one inventory with a folder of its own" in plan["refusals"][0]


def test_nobody_is_left_out() -> None:
    assert planned(limit="app1")["refusals"][0].startswith("--limit app1 leaves hosts out")


def test_every_fault_once() -> None:
    plan = planned()
    assert [item["fault"] for item in plan["rounds"]] == list(CATALOGUE)
    assert [item["number"] for item in plan["rounds"]] == list(range(1, len(CATALOGUE) + 1))
    assert plan["skipped"] == {}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"faults": ("app_kil",)}, "drill_faults names 'app_kil', expected of: app_kill, "),
        ({"budgets": {"nobody": {}}}, "drill_budgets names 'nobody', expected of: app_kill, "),
        ({"budgets": {"app_kill": {"gaps": 1}}}, "drill_budgets has 'gaps' for app_kill, expected of: failed_reads, "),
        (
            {"budgets": {"app_kill": {"read_gap": "1 s"}}},
            "drill_budgets has read_gap '1 s' for app_kill, expected a number",
        ),
        (
            {"budgets": {"app_kill": {"read_gap": True}}},
            "drill_budgets has read_gap True for app_kill, expected a number",
        ),
        ({"rounds": -1}, "drill_rounds is -1, expected 1 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any], found: str) -> None:
    plan = planned(**asked)
    assert not plan["rounds"]
    assert plan["refusals"][0].startswith(found)


def test_a_seed_draws_the_same_again() -> None:
    one, again, other = planned(rounds=30, seed=7), planned(rounds=30, seed=7), planned(rounds=30, seed=8)
    assert one == again
    assert one["rounds"] != other["rounds"]
    assert len(one["rounds"]) == 30
    assert "drawn with seed 7 (drill_seed=7 draws them again)" in drill_text(one)


def test_random_faults_may_be_chosen_among_some() -> None:
    assert {item["fault"] for item in planned(rounds=20, faults=("app_kill", "lb_off"))["rounds"]} == {
        "app_kill",
        "lb_off",
    }


def test_without_a_power_switch_nobody_is_switched_off() -> None:
    plan = planned(variables={})
    assert plan["skipped"]["app_off"] == "drill_power_off_command is not set for app1"
    assert "app_off" not in {item["fault"] for item in plan["rounds"]}
    assert "left out: app_off, drill_power_off_command is not set for app1" in drill_text(plan)
    refused = planned(variables={}, faults=("app_off", "app_kill"))
    assert refused["refusals"] == ("app_off can't be injected here: drill_power_off_command is not set for app1",)


def test_a_primary_that_nobody_could_fence_is_not_cut_off() -> None:
    assert "pg_fence_command is not set" in planned(variables=dict.fromkeys(HOSTS, POWER))["skipped"]["primary_cut"]
    unpowered = {name: {"pg_fence_command": "fence"} for name in HOSTS}
    assert "drill_power_on_command is not set" in planned(variables=unpowered)["skipped"]["primary_cut"]


@pytest.mark.parametrize(
    ("change", "left_out"),
    [
        ({"load_balancers": [{"name": "lb1"}]}, "lb_kill"),
        ({"settings": {"site_vip": ""}}, "lb_kill"),
        ({"replicas": [{"host": "app1"}]}, "app_kill"),
        ({"members": [{"name": "pg1", "address": "10.0.0.31"}]}, "primary_off"),
        ({"members": [{"name": "pg1", "address": "10.0.0.31"}]}, "standby_kill"),
        ({"storage_servers": []}, "brick_kill"),
    ],
)
def test_a_tier_without_redundancy_is_left_alone(change: dict[str, Any], left_out: str) -> None:
    assert left_out in planned(topology={**TOPOLOGY, **change})["skipped"]


def test_a_disk_that_is_not_the_datas_own_is_left_alone() -> None:
    shared = {name: {**found, "drill_data_disk": False} for name, found in VARIABLES.items()}
    assert planned(variables=shared)["skipped"]["primary_disk_full"].startswith("drill_data_disk is not set for pg1")


def test_what_fills_a_disk_lies_beside_the_brick() -> None:
    assert aimed("brick_disk_full")["means"]["path"] == "/srv/gluster/media"
    moved = {"app1": {"shared_storage_brick": "/data/bricks/films"}}
    assert aimed("brick_disk_full", variables=moved)["means"]["path"] == "/data/bricks"


def test_a_store_of_the_users_own_is_left_alone() -> None:
    variables = {name: {"shared_storage_backend": "mount"} for name in HOSTS}
    assert planned(variables=variables)["skipped"]["brick_kill"] == "the store is not one of this collection"


@pytest.mark.parametrize(
    ("fault", "draw", "hosts"),
    [
        ("app_kill", 0.0, ["app1"]),
        ("app_kill", 0.99, ["app3"]),
        ("lb_off", 0.99, ["lb2"]),
        ("primary_off", 0.99, ["pg2"]),
        ("standby_off", 0.0, ["pg1"]),
        ("standby_off", 0.99, ["pg3"]),
        ("brick_kill", 0.5, ["app2"]),
        ("all_off", 0.3, list(HOSTS)),
    ],
)
def test_a_fault_hits_who_plays_the_part_now(fault: str, draw: float, hosts: list[str]) -> None:
    assert aimed(fault, draw)["hosts"] == hosts


def test_a_cut_is_between_those_who_play_the_parts_now() -> None:
    assert aimed("app_primary_cut")["means"]["peers"] == ["10.0.0.32"]
    assert aimed("primary_alone")["means"]["peers"] == ["10.0.0.31", "10.0.0.33"]
    assert aimed("primary_cut")["means"]["peers"] == []


def test_units_are_called_as_the_host_calls_them() -> None:
    assert aimed("app_kill", variables={"app1": {"app_replicas_name": "shop"}})["means"]["unit"] == "shop@*.service"
    assert aimed("brick_kill", variables={"app1": {"shared_storage_volume": "films"}})["means"]["volume"] == "films"


def test_who_was_fenced_is_switched_on_again() -> None:
    assert aimed("primary_cut")["heal"] == {"kind": "power"}
    assert aimed("app_cut")["heal"] == aimed("app_cut")["means"]


def test_the_drill_gives_its_word_where_no_command_fences() -> None:
    assert aimed("primary_off")["word"] == {}
    assert aimed("primary_off", variables={})["word"] == {"failover_fenced": "pg2"}
    assert aimed("app_off", variables={})["word"] == {}
    # Its host answers: the playbook fences it itself.
    assert aimed("primary_stop", variables={})["word"] == {}


def test_a_release_that_never_gets_ready_is_rolled_out() -> None:
    found = aimed("app_release")
    assert (found["response"], found["recovery"], found["hopeless"]) == (
        "site.yml",
        "site.yml",
        "no host after it got release",
    )
    assert found["word"] == {
        "app_replicas_archive": "bad.tar.gz",
        "app_replicas_image": "",
        "app_replicas_ready_timeout": 20,
    }
    without = {name: {**found, "drill_bad_release": ""} for name, found in VARIABLES.items()}
    assert planned(variables=without)["skipped"]["app_release"].startswith("drill_bad_release is not set")


def test_the_users_budget_wins() -> None:
    budget = aimed("app_kill", budgets={"app_kill": {"read_gap": 9, "failed_reads": None}})["budget"]
    assert (budget["read_gap"], budget["failed_reads"], budget["failed_writes"]) == (9, None, 0)


# --- alerts


def test_where_nothing_is_watched_no_alert_is_waited_for() -> None:
    plan = planned(topology={**TOPOLOGY, "monitoring": []}, alerts=True)
    assert not plan["rounds"]
    assert plan["refusals"][0].startswith("drill_alerts is true and the group monitoring has no hosts, expected one")
    assert drill_text(plan) == "Nothing was broken."
    assert planned(topology={**TOPOLOGY, "monitoring": []})["rounds"]


def test_the_plan_says_that_alerts_are_waited_for() -> None:
    assert "a fault lasts until those have fired that it must fire, 120 s" in drill_text(planned(alerts=True))
    assert "alerts" not in drill_text(planned())


@pytest.mark.parametrize(
    ("fault", "alerts", "monitoring", "watcher", "told"),
    [
        ("app_stop", True, ["ops1"], "ops1", [("ReplicaNotReady", "host", "app1"), ("RedundancyDegraded", "tier", "app")]),
        ("app_stop", False, ["ops1"], "", []),
        ("app_kill", True, ["ops1"], "ops1", []),
        ("vrrp_freeze", True, ["ops1"], "ops1", [("TwoVipHolders", "", "")]),
        # It hits pg2, who is the primary.
        ("primary_off", True, ["pg2"], "", []),
        ("brick_disk_full", True, ["app1", "ops1"], "ops1", [("DiskFull", "instance", "app1")]),
        ("all_off", True, ["lb1", "pg3"], "", []),
    ],
)  # fmt: skip
def test_who_is_asked_for_what(
    fault: str, alerts: bool, monitoring: list[str], watcher: str, told: list[tuple[str, str, str]]
) -> None:
    found = aimed(fault, alerts=alerts, topology={**TOPOLOGY, "monitoring": monitoring})
    assert found["watcher"] == watcher
    assert [(alert["name"], alert["label"], alert["who"]) for alert in found["alerts"]] == told


@pytest.mark.parametrize(
    ("fault", "alerts", "hold", "undo_after"),
    [
        ("app_stop", False, 8.0, 128.0),
        # The controller holds it for as long as it takes, so the host must wait.
        ("app_stop", True, 8.0, 248.0),
        ("app_kill", True, 8.0, 128.0),
        # Who can't be reached must know beforehand.
        ("app_cut", False, 8.0, 8.0),
        ("app_cut", True, 75.0, 75.0),
        ("primary_cut", False, 30, 30),
        ("primary_cut", True, 75.0, 75.0),
    ],
)
def test_a_fault_lasts_until_it_is_told_of(fault: str, alerts: bool, hold: float, undo_after: float) -> None:
    found = aimed(fault, alerts=alerts)
    assert (found["hold"], found["undo_after"]) == (hold, undo_after)
