# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load test measures, and where."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.load_plan import (
    CHARTS,
    bare_host,
    measures,
    refusals,
)
from drill_site import STATUS
from load_site import TOPOLOGY, WANTED

URL = "https://10.0.0.100"


def planned(**changed: Any) -> dict[str, dict[str, Any]]:
    """The measures by name, on a site that differs by *changed*."""
    site = TOPOLOGY | changed
    found = measures(site, STATUS, "ops1", WANTED, URL, "/videos/7/file", "videos/7")
    return {item["name"]: item for item in found}


def test_every_chart_begins_with_what_the_others_are_compared_with() -> None:
    first = {chart: [item["name"] for item in planned().values() if chart in item["charts"]] for chart in CHARTS}
    assert first == {
        "replicas": ["hosts_1", "hosts_2", "hosts_3"],
        "balancer": ["direct", "hosts_1"],
        "video": ["video_disk", "video_store", "video_site"],
        "upload": ["upload"],
        "write": ["stock", "off", "any_1"],
        "read": ["standbys_1", "standbys_2"],
    }


def test_replicas_are_added_one_by_one() -> None:
    found = planned()
    assert [found[f"hosts_{count}"]["stopped"] for count in (1, 2, 3)] == [("app2", "app3"), ("app3",), ()]
    assert {found[f"hosts_{count}"]["argv"][-1] for count in (1, 2, 3)} == {f"{URL}/"}
    assert found["direct"]["argv"][-1] == "http://10.0.0.21:8000/"


def test_the_database_is_loaded_where_it_is() -> None:
    found = planned()
    # STATUS has pg2 as the primary.
    assert {found[name]["hosts"] for name in ("stock", "off", "any_1")} == {("pg2",)}
    assert [found[f"standbys_{count}"]["hosts"] for count in (1, 2)] == [("pg1",), ("pg1", "pg3")]
    assert "PGOPTIONS=-c synchronous_commit=local" in found["off"]["argv"]
    assert "PGOPTIONS=-c synchronous_commit=local" not in found["any_1"]["argv"]
    assert found["stock"]["argv"][-2:] == ("5999", "renfo_load")
    assert "--select-only" in found["standbys_2"]["argv"]


def test_a_site_that_waits_for_no_standby_is_not_compared_with_one() -> None:
    assert "any_1" not in planned(cluster={"synchronous": "off"})


def test_the_video_is_served_where_the_address_is() -> None:
    assert bare_host(TOPOLOGY, STATUS) == "lb2"
    assert bare_host(TOPOLOGY, STATUS | {"vip_holders": []}) == "lb1"
    found = planned()
    assert found["video_store"]["argv"][-1] == "http://[fd00::12]:8089/store/videos/7"
    assert found["video_site"]["argv"][-1] == f"{URL}/videos/7/file"


def test_a_video_that_nobody_finds_in_the_store_is_only_asked_of_the_site() -> None:
    found = measures(TOPOLOGY, STATUS, "ops1", WANTED, URL, "/videos/7/file", "")
    assert [item["name"] for item in found if "video" in item["charts"]] == ["video_site"]


def test_an_application_that_looks_at_the_name_sees_its_own() -> None:
    for name in ("direct", "hosts_3", "video_site", "upload"):
        assert "Host: renfo.example" in planned()[name]["argv"]


def test_uploads_tell_the_script_their_size() -> None:
    assert planned()["upload"]["argv"][-4:] == (f"{URL}/videos", "--", "upload", "102400")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"may_load": ""}, "loadtest_i_may_load is not set, expected the inventory that is to be loaded, 'lab'"),
        ({"may_load": "production"}, "loadtest.yml -e loadtest_i_may_load=lab"),
        ({"limit": "app1"}, "--limit app1 leaves hosts out"),
        ({"generator": ""}, "there is no host in the group monitoring, expected a host of the inventory"),
        ({"generator": "ops9"}, "loadtest_from names 'ops9'"),
        ({"wanted": WANTED | {"seconds": 0}}, "loadtest_seconds is 0, expected a whole number from 1"),
        ({"wanted": WANTED | {"video_bytes": 5}}, "loadtest_video_bytes is 5, expected a whole number from 1048576"),
    ],
)
def test_refusals(given: dict[str, Any], said: str) -> None:
    fine: dict[str, Any] = {
        "inventories": ("lab",),
        "may_load": "lab",
        "limit": "",
        "topology": TOPOLOGY,
        "generator": "ops1",
        "wanted": WANTED,
    }
    assert refusals(**fine) == []
    (refusal,) = refusals(**fine | given)
    assert said in refusal
