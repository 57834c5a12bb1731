# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.filter.stack_status import FilterModule
from ansible_collections.renfo.redundancy.plugins.module_utils.topology import topology

FILTERS = FilterModule().filters()
GROUPS = {"nginx_lb": ["lb1"], "app_replicas": ["app1"], "pg_primary": ["pg1"]}
HOSTVARS: dict[str, dict[str, Any]] = {
    name: {"site_name": "renfo.example", "shared_storage_backend": "mount", "ansible_host": f"192.0.2.{number}"}
    for number, name in enumerate(("lb1", "app1", "pg1"), start=1)
}
SITE = {**topology(GROUPS, HOSTVARS).to_dict(), "release": {}}
PLAN: dict[str, Any] = {"primary": None, "members": {}, "problems": [], "notes": []}
UNREACHABLE = {"unreachable": True, "failed": True, "msg": "No route to host"}


def status(**observed: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = FILTERS["stack_status"](
        SITE,
        PLAN,
        {name: {**HOSTVARS[name], "host_observed": UNREACHABLE, **observed.get(name, {})} for name in HOSTVARS},
    )
    return found


def test_what_was_registered_is_read() -> None:
    found = status(
        pg1={
            "host_observed": {"host": {"units": {}, "certificates": {}}},
            "pg_observed": {"instance": {"state": "standby", "timeline": 3, "received_lsn": "0/1"}},
        }
    )

    assert (found["instances"][0]["role"], found["instances"][0]["timeline"]) == ("standby", 3)
    assert found["unreachable"] == ["lb1", "app1"]


@pytest.mark.parametrize(
    ("registered", "words"),
    [
        pytest.param(UNREACHABLE, "app1 (192.0.2.2) can't be reached", id="unreachable"),
        pytest.param({"skipped": True}, "app1 (192.0.2.2) can't be reached", id="skipped because unreachable before"),
        pytest.param({"failed": True, "msg": "no Python"}, "can't be observed: no Python", id="failed"),
    ],
)
def test_a_host_without_observation(registered: dict[str, Any], words: str) -> None:
    assert any(words in said for said in status(app1={"host_observed": registered})["degraded"])


def test_a_host_that_was_left_out_of_the_run() -> None:
    hostvars = {name: dict(variables) for name, variables in HOSTVARS.items()}

    assert any(
        "run status.yml without --limit" in said for said in FILTERS["stack_status"](SITE, PLAN, hostvars)["degraded"]
    )


@pytest.mark.parametrize(
    ("facts", "units"),
    [
        pytest.param({"distribution_release": "bookworm"}, ["postgresql@15-main.service"], id="a known release"),
        pytest.param({"distribution_release": "sid"}, [], id="an unknown release"),
        pytest.param({}, [], id="no facts"),
    ],
)
def test_the_version_of_postgresql_follows_from_the_release(facts: dict[str, str], units: list[str]) -> None:
    hostvars = {"pg1": {**HOSTVARS["pg1"], "ansible_facts": facts}}

    assert FILTERS["stack_questions"](SITE, "pg1", hostvars)["units"] == [*units, "site-firewall.service"]


def test_questions_use_the_variables_of_the_host() -> None:
    hostvars = {
        "app1": {
            **HOSTVARS["app1"],
            "app_replicas_name": "blog",
            "app_replicas_ready_path": "/up",
            "firewall_enabled": False,
        }
    }

    asked = FILTERS["stack_questions"](SITE, "app1", hostvars)

    assert asked["units"] == ["blog@1.service", "shared-storage-keeper.service"]
    assert asked["ready"] == [{"name": "app1-1", "url": "http://192.0.2.2:8000/up"}]
    assert asked["gluster_volume"] == ""


def test_the_text_is_made_of_the_status() -> None:
    text = FILTERS["stack_status_text"](status())

    assert text.startswith("! DEGRADED")
    assert "lb1 (192.0.2.1) can't be reached" in text
