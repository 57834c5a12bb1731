# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.filter.drill import FilterModule
from drill_site import HOSTS, STATUS, TOPOLOGY

FILTERS = FilterModule().filters()


def test_a_round_is_planned_aimed_and_said() -> None:
    hostvars: dict[str, dict[str, Any]] = {name: {"inventory_dir": "/x/lab"} for name in HOSTS}
    plan = FILTERS["drill_plan"](
        TOPOLOGY, hostvars, may_break="lab", faults=" app_kill , lb_kill", rounds="3", seed="7"
    )
    assert (len(plan["rounds"]), plan["seed"]) == (3, 7)
    assert {item["fault"] for item in plan["rounds"]} <= {"app_kill", "lb_kill"}
    assert "drill_seed=7" in FILTERS["drill_text"](plan)
    target = FILTERS["drill_aim"]({"number": 1, "fault": "lb_kill", "draw": 0.0}, TOPOLOGY, STATUS, hostvars)
    assert target["hosts"] == ["lb2"]


def test_a_bad_release_that_is_not_there_is_not_tried(tmp_path: Path) -> None:
    bad = tmp_path / "bad.tar.gz"
    hostvars = {name: {"drill_bad_release": str(bad), "inventory_dir": "/x/lab/"} for name in HOSTS}
    plan = FILTERS["drill_plan"](TOPOLOGY, hostvars, may_break="lab")
    assert "app_release" in plan["skipped"]
    bad.touch()
    plan = FILTERS["drill_plan"](TOPOLOGY, hostvars, may_break="lab")
    assert "app_release" not in plan["skipped"]


def test_only_hosts_that_were_asked_are_witnesses() -> None:
    hostvars = {
        "pg1": {"drill_witness": {"offset": 3, "samples": []}},
        "pg2": {"drill_witness": {"unreachable": True}},
        "lb1": {},
    }
    assert FILTERS["drill_witnesses"](hostvars) == {"pg1": {"offset": 3, "samples": []}}


@pytest.mark.parametrize(
    ("watcher", "registered", "firings", "trouble"),
    [
        ("ops1", {"firings": [{"since": 1.0}], "trouble": ""}, [{"since": 1.0}], ""),
        ("ops1", {"firings": [], "trouble": "refused"}, [], "refused"),
        ("ops1", {"unreachable": True, "msg": "no route"}, [], "no route"),
        ("ops1", None, [], "it can't be reached"),
        ("", None, [], ""),
    ],
)
def test_what_the_one_who_was_asked_said(watcher: str, registered: Any, firings: list[Any], trouble: str) -> None:
    hostvars = {"ops1": {"drill_told": registered}, "lb1": {"drill_told": {"skipped": True}}}
    found = FILTERS["drill_told"](hostvars, {"watcher": watcher})
    assert found == {"host": watcher, "firings": firings, "trouble": trouble}
