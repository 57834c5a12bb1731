# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.renfo.redundancy.plugins.filter.load import FilterModule
from drill_site import STATUS
from load_site import TOPOLOGY, WANTED

FILTERS = FilterModule().filters()
HOSTVARS = {name: {"inventory_dir": "/x/lab"} for name in TOPOLOGY["hosts"]}


def test_a_load_test_is_planned_and_aimed() -> None:
    plan = FILTERS["load_plan"](TOPOLOGY, HOSTVARS, WANTED, may_load="lab")
    assert (plan["refusals"], plan["generator"], plan["replica"]) == ([], "ops1", "http://10.0.0.21:8000")
    assert FILTERS["load_text"](plan).startswith("2 round(s) in which everything is measured for 10 s each.")
    aim = FILTERS["load_aim"](TOPOLOGY, STATUS, plan, "https://x", "/videos/7/file", "/_media/videos/7", "/_media/")
    assert aim["stored"] == "videos/7"
    assert "video_store" in [item["name"] for item in aim["measures"]]


def test_another_inventory_is_refused() -> None:
    plan = FILTERS["load_plan"](TOPOLOGY, HOSTVARS, WANTED, may_load="production")
    assert len(plan["refusals"]) == 1
    assert FILTERS["load_text"](plan) == "Nothing was loaded."


def test_a_file_elsewhere_is_not_looked_for_in_the_store() -> None:
    plan = FILTERS["load_plan"](TOPOLOGY, HOSTVARS, WANTED, may_load="lab")
    for redirect in ("", "/files/7"):
        aim = FILTERS["load_aim"](TOPOLOGY, STATUS, plan, "https://x", "/videos/7/file", redirect, "/_media/")
        assert aim["stored"] == ""
