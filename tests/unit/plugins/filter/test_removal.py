# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.filter.removal import FilterModule

FILTERS = FilterModule().filters()
BRICK = "/srv/gluster/media/brick"
ADDRESSES = {"app1": "10.0.0.21", "app2": "10.0.0.22", "app3": "10.0.0.23", "app4": "10.0.0.24"}
OLD = ["app1", "app2", "app3"]
PLAN: dict[str, Any] = {"primary": None, "primary_observed": False, "problems": [], "members": {}}


def site(servers: list[str], *removed: str) -> dict[str, Any]:
    return {
        "settings": {"site_media_directory": "/srv/media"},
        "cluster": {"synchronous": "off"},
        "members": [],
        "slots": {},
        "hosts": {name: {} for name in servers},
        "load_balancers": [],
        "replicas_by_host": {},
        "storage_servers": [{"name": name, "address": ADDRESSES[name]} for name in servers],
        "storage_addresses": [ADDRESSES[name] for name in servers],
        "removed": {
            name: {
                "address": ADDRESSES[name],
                "whole": True,
                "groups": ["shared_storage"],
                "stays": [],
                "slot": "",
            }
            for name in removed
        },
    }


def hostvars(online: bool = True, empty: bool = True) -> dict[str, Any]:
    """app1 to app3 have the volume, app4 is new."""
    bricks = {ADDRESSES[name]: name for name in OLD}
    found: dict[str, Any] = {}
    for name in ADDRESSES:
        has = name in OLD
        store = {
            "uuid": name,
            "peers": [other for other in OLD if has and other != name],
            "neighbours": [ADDRESSES[other] for other in OLD if has and other != name],
            "volume_id": "v1" if has else "",
            "bricks": bricks if has else {},
            "empty": not has and empty,
            "returned": False,
        }
        told = [
            {"name": f"{ADDRESSES[other]}:{BRICK}", "online": other != "app2" or online, "to_heal": 0} for other in OLD
        ]
        layout = {"bricks": [brick["name"] for brick in told], "arbiters": 0}
        found[name] = {
            "store_observed": {"store": store} | ({"bricks": told, "layout": layout} if has else {}),
            "store_leaving": {"store": store},
            "pg_leaving": {"instance": {"state": "absent"}},
        }
    return found


def test_a_storage_host_is_replaced() -> None:
    declared = site(["app1", "app2", "app4"], "app3")
    found = FILTERS["removal"](declared, PLAN, hostvars(), list(ADDRESSES))
    assert json.loads(json.dumps(found)) == found
    assert (found["refusals"], found["leader"], found["servers"]) == ([], "10.0.0.21", ["10.0.0.23"])
    assert found["hosts"]["app3"]["store"] == ["glusterd.service"]
    assert found["returned"] == {}


@pytest.mark.parametrize(
    ("servers", "removed", "changes", "words"),
    [
        (["app1", "app2", "app4"], ["app3"], {"online": False}, "the one of 10.0.0.22 is offline"),
        (["app1", "app2", "app4"], ["app3"], {"empty": False}, "app4: /srv/gluster/media/brick holds files"),
        (["app1", "app4"], ["app2", "app3"], {}, "A layout is never changed"),
        (["app4"], ["app1", "app2", "app3"], {}, "app1 is to be removed and holds a copy of the store, and no server"),
    ],
)
def test_refusals_before_anything_is_changed(
    servers: list[str], removed: list[str], changes: dict[str, Any], words: str
) -> None:
    found = FILTERS["removal"](site(servers, *removed), PLAN, hostvars(**changes), list(ADDRESSES))
    assert any(words in refusal for refusal in found["refusals"])


def test_the_copies_are_given_up_once_a_server_noted_it() -> None:
    declared = site(["app1", "app2", "app4"], "app3")
    assert not FILTERS["store_left"](hostvars(), declared)
    assert FILTERS["store_left"]({**hostvars(), "app1": {"site_store_left": True}}, declared)


def test_only_a_host_that_was_asked_vouches_for_the_store() -> None:
    found = hostvars()
    for name in ("app1", "app2"):
        del found[name]["store_observed"]
    refusals = FILTERS["removal"](site(["app1", "app2", "app4"], "app3"), PLAN, found, list(ADDRESSES))["refusals"]
    assert "app3 is to be removed and holds a copy of the store" in refusals[0]


def test_a_copy_that_the_pool_knows_by_another_address() -> None:
    declared = site(["app1", "app2", "app4"], "app3")
    declared["removed"]["app3"]["address"] = "192.0.2.3"
    (refusal,) = FILTERS["removal"](declared, PLAN, hostvars(), list(ADDRESSES))["refusals"]
    assert "set site_address of app3 to one of 10.0.0.21, 10.0.0.22, 10.0.0.23" in refusal


def test_an_empty_store_is_not_made_beside_a_copy_that_nobody_saw() -> None:
    found = hostvars()
    del found["app3"]["store_leaving"]
    declared = site(["app4"], "app3")
    (refusal,) = FILTERS["removal"](declared, PLAN, found, list(ADDRESSES))["refusals"]
    assert "it may hold the only copy" in refusal
    # The others know the volume.
    assert FILTERS["removal"](site(["app1", "app2", "app4"], "app3"), PLAN, found, list(ADDRESSES))["refusals"] == []


def test_a_store_of_somebody_else_keeps_nobody() -> None:
    found = hostvars()
    assert FILTERS["removal"](site([], "app3"), PLAN, found, list(ADDRESSES))["refusals"] == []
    del found["app3"]["store_leaving"]
    assert FILTERS["removal"](site([], "app3"), PLAN, found, list(ADDRESSES))["refusals"] == []


def test_an_emptied_disk_is_filled_before_another_copy_is_replaced() -> None:
    found = hostvars()
    found["app2"]["store_observed"]["store"] |= {"volume_id": "", "peers": [], "empty": True, "bricks": {}}
    decided = FILTERS["removal"](site(["app1", "app2", "app4"], "app3"), PLAN, found, list(ADDRESSES))
    assert "10.0.0.22 came back with an empty disk" in decided["refusals"][0]
    assert decided["returned"]["10.0.0.22"]["name"] == "app2"
    # With its files it has nothing to be filled with.
    found["app2"]["store_observed"]["store"]["empty"] = False
    assert FILTERS["removal"](site(["app1", "app2", "app4"], "app3"), PLAN, found, list(ADDRESSES))["refusals"] == []


def test_what_is_done_is_known_from_every_host() -> None:
    declared = site(["app1", "app2", "app4"], "app3")
    decided = FILTERS["removal"](declared, PLAN, hostvars(), list(ADDRESSES))
    left = {**hostvars(), "app1": {"site_store_left": True}}
    assert FILTERS["removal_done"](decided, declared, left, list(ADDRESSES))
    assert not FILTERS["removal_done"](decided, declared, hostvars(), list(ADDRESSES))
    assert not FILTERS["removal_done"](decided, declared, left, ["app1", "app3", "app4"])
    # What leaves failed itself.
    assert not FILTERS["removal_done"](decided, declared, left, ["app1", "app2", "app4"])


def test_observations_of_what_leaves_and_of_members() -> None:
    declared = {
        **site([]),
        "members": [{"name": "pg1"}],
        "cluster": {"synchronous": "any_1"},
        "removed": {"pg3": {"slot": "pg3"}, "pg4": {"slot": "pg4"}},
    }
    decided = {"hosts": {"pg3": {}, "pg4": {}}, "slots": ["pg3", "pg4"]}
    last: dict[str, Any] = {"pg3": {"pg_last": {"instance": {"state": "standby"}}}, "pg4": {}, "pg1": {}}
    found = FILTERS["still_counted_on"](decided, declared, last)
    assert (list(found["hosts"]), found["slots"]) == (["pg3"], ["pg4"])
    last["pg1"] = {"pg_after": {"instance": {"state": "primary", "accepts_connections": True}}}
    assert FILTERS["still_counted_on"](decided, declared, last) == {"hosts": {}, "slots": ["pg3", "pg4"]}
