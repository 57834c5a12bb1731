# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.filter import deploy
from ansible_collections.renfo.redundancy.plugins.module_utils.topology import topology

FILTERS = deploy.FilterModule().filters()
GROUPS = {"nginx_lb": ["lb1"], "app_replicas": ["app1", "app2"], "pg_primary": ["pg1"]}
HOSTVARS: dict[str, dict[str, Any]] = {
    name: {"site_name": "renfo.example", "shared_storage_backend": "mount", "ansible_host": f"192.0.2.{number}"}
    for number, name in enumerate(("lb1", "app1", "app2", "pg1"), start=1)
}
SITE = {
    **topology(GROUPS, HOSTVARS).to_dict(),
    "release": {"id": "2-bbbbbbbbbbbb", "version": "2", "archive": "x"},
}
OLD = "1-aaaaaaaaaaaa"


def observed(name: str, current: str = OLD, **releases: Any) -> dict[str, Any]:
    return {
        "host": {
            "units": {"app@1.service": {"running": True, "running_in": f"/srv/app/releases/{current}"}},
            "ready": {f"{name}-1": {"ok": True}},
            "releases": {
                "current": current,
                "previous": "",
                "over": "",
                "trial": None,
                "releases": [current],
                **releases,
            },
        }
    }


def hostvars(**given: Any) -> dict[str, dict[str, Any]]:
    seen = {name: {"host_observed": observed(name)} for name in ("app1", "app2")}
    return {name: {**HOSTVARS[name], **seen.get(name, {}), **given.get(name, {})} for name in HOSTVARS}


@pytest.fixture(autouse=True)
def extra(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    monkeypatch.setattr(deploy, "load_extra_vars", lambda _loader: found)
    return found


def test_a_release_that_was_named_is_in_place_of_the_declared_one(extra: dict[str, Any]) -> None:
    assert FILTERS["deploy_plan"](SITE, hostvars())["over"] == ""
    extra["app_replicas_version"] = "2"
    plan = FILTERS["deploy_plan"](SITE, hostvars())
    assert (plan["release"], plan["over"], plan["batches"]) == ("2-bbbbbbbbbbbb", OLD, (("app1",), ("app2",)))


def test_load_balancers_are_given_time() -> None:
    assert FILTERS["deploy_plan"](SITE, hostvars())["pause"] == 6
    assert FILTERS["deploy_plan"](SITE, hostvars(lb1={"nginx_lb_fail_timeout": 9}))["pause"] == 10
    alone = {**SITE, "load_balancers": []}
    assert FILTERS["deploy_plan"](alone, hostvars())["pause"] == 0


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ({"unreachable": True, "msg": "No route to host"}, "No route to host"),
        ({}, "it was not asked; take no --limit"),
        (observed("app2", error="releases.json can't be read"), "releases.json can't be read"),
    ],
)
def test_a_host_without_observation(result: dict[str, Any], why: str) -> None:
    plan = FILTERS["deploy_plan"](SITE, hostvars(app2={"host_observed": result}))
    assert [why in refusal for refusal in plan["refusals"]] == [True]
    left_out = FILTERS["deploy_plan"](SITE, hostvars(app2={"host_observed": result}), without="app2", drain="app1")
    assert (left_out["refusals"], left_out["batches"]) == ((), (("app1",),))


def test_what_a_host_is_asked() -> None:
    names = {"app1": {"app_replicas_name": "shop", "app_replicas_ready_path": "/up"}}
    assert FILTERS["deploy_questions"](SITE, "app1", hostvars(**names)) == {
        "units": ["shop@1.service", "shared-storage-keeper.service", "site-firewall.service"],
        "ready": [{"name": "app1-1", "url": "http://192.0.2.2:8000/up"}],
        "release_home": "/srv/shop",
    }


def test_only_those_fail_that_had_their_turn() -> None:
    batches = [["app1"], ["app2"]]
    failures = FILTERS["deploy_failures"]
    assert failures(batches, hostvars(app1={"deploy_failure": "503"})) == {"app1": "503"}
    assert failures(batches, hostvars(app1={"deploy_switched": True})) == {"app2": "it can't be reached any more"}
    assert failures(batches[:1], hostvars(app1={"deploy_switched": True})) == {}


def test_what_is_known_of_a_lost_host_is_from_before() -> None:
    lost = {"app2": "it can't be reached any more"}
    trial = {"release": "2-bbbbbbbbbbbb", "before": OLD, "over": "", "asked": ""}
    seen = hostvars(app1={"host_observed": observed("app1", "2-bbbbbbbbbbbb", trial=trial)})
    plan = {"release": "2-bbbbbbbbbbbb", "over": ""}
    # It alone would go on serving.
    assert FILTERS["deploy_back"](SITE, seen, plan, lost) == []
    assert FILTERS["deploy_back"](SITE, seen, plan, {"app2": "503"}) == [["app1"]]
    assert "app2: can't be observed" in FILTERS["deploy_report"](plan, SITE, seen, lost)


def test_the_release_of_the_site() -> None:
    brought = {name: {"host_observed": observed(name, over="2-bbbbbbbbbbbb")} for name in ("app1", "app2")}
    found = FILTERS["site_release"](SITE, hostvars(**brought))
    assert (found["release"], found["over"], found["refusals"]) == (OLD, "2-bbbbbbbbbbbb", [])
    assert FILTERS["site_release"]({**SITE, "release": {}}, hostvars())["release"] == ""
