# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.renfo.redundancy.plugins.filter.handover import FilterModule
from pg_members import ADDRESSES, primary, standby

FILTERS = FilterModule().filters()
DECLARED: dict[str, Any] = {
    "members": [
        {"name": name, "address": address, "port": 5432, "role": "primary" if name == "pg1" else "replica"}
        for name, address in ADDRESSES.items()
    ],
    "synchronous": "any_1",
}
LOST = {"pg1": None, "pg2": standby().to_dict(), "pg3": standby(me="pg3").to_dict()}
SERVES = {**LOST, "pg1": primary().to_dict()}


def test_a_failover_is_decided_and_said() -> None:
    decided = FILTERS["failover_plan"](DECLARED, LOST, fenced="pg1", loss_of="")

    assert (decided["outcome"], decided["candidate"], decided["fence"]["by"]) == ("act", "pg2", "word")
    assert decided["followers"] == ["pg3"]
    assert FILTERS["failover_text"](decided).startswith("Failover from pg1 to pg2")
    assert FILTERS["failover_report"](decided, {}).startswith("pg2 is the primary")


def test_no_name_is_no_word() -> None:
    decided = FILTERS["failover_plan"](DECLARED, LOST, errors={"pg1": "timed out"}, fenced="", loss_of="")

    assert decided["outcome"] == "refuse"
    assert "-e failover_fenced=pg1" in decided["refusals"][0]
    assert "timed out" in decided["refusals"][0]


@pytest.mark.parametrize("commands", [["pg1"], {"pg1": True}, ("pg1", "pg2")])
def test_who_has_a_fence_command(commands: Any) -> None:
    assert FILTERS["failover_plan"](DECLARED, LOST, fence_commands=commands)["fence"]["by"] == "command"


def test_loss_can_be_accepted() -> None:
    seen = {**LOST, "pg3": None}

    assert FILTERS["failover_plan"](DECLARED, seen, fenced="pg1")["outcome"] == "refuse"
    assert FILTERS["failover_plan"](DECLARED, seen, fenced="pg1", loss_of="pg1")["outcome"] == "act"


def test_a_switchover_is_decided_and_said() -> None:
    decided = FILTERS["switchover_plan"](DECLARED, SERVES, target="")

    assert (decided["outcome"], decided["candidate"], decided["from_timeline"]) == ("act", "pg2", 1)
    assert decided["parts"]["pg1"] == {"part": "hand_over", "peer": "pg2"}
    assert FILTERS["switchover_text"](decided).startswith("Switchover from pg1 to pg2")
    assert FILTERS["switchover_report"](decided, {}).startswith("pg2 is the primary on timeline 2")
    assert FILTERS["switchover_plan"](DECLARED, SERVES, target="pg3")["candidate"] == "pg3"


def test_what_was_registered_where_it_ran() -> None:
    site = {"members": DECLARED["members"]}
    hostvars = {
        "pg1": {"became": {"changed": True, "reason": "rewound"}},
        "pg2": {"became": {"skipped": True}},
        "pg3": {},
    }

    assert FILTERS["rejoined"](site, hostvars, "became") == {"pg1": {"changed": True, "reason": "rewound"}}


@pytest.mark.parametrize("name", ["failover_plan", "switchover_plan"])
@pytest.mark.parametrize(
    ("declared", "observations", "message"),
    [
        ({"members": []}, {}, "found 0 declared primaries"),
        (DECLARED, {"pg1": {"state": "gone"}}, "observation of pg1 is not what .*'gone'"),
        (DECLARED, {"pg1": {}}, "observation of pg1 is not what .*'state'"),
    ],
    ids=["no primary", "unknown state", "no state"],
)
def test_bad_input_is_told_apart(
    name: str, declared: dict[str, Any], observations: dict[str, Any], message: str
) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        FILTERS[name](declared, observations)
