# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.renfo.redundancy.plugins.filter.cluster_plan import FilterModule

cluster_plan = FilterModule().filters()["cluster_plan"]

DECLARED = {
    "members": [
        {"name": "pg1", "address": "10.0.0.1", "port": 5432, "role": "primary"},
        {"name": "pg2", "address": "10.0.0.2", "port": 5432, "role": "replica"},
    ],
    "synchronous": "any_1",
}
PRIMARY: dict[str, Any] = {
    "state": "primary",
    "version": 17,
    "system_identifier": "7",
    "timeline": 1,
    "current_lsn": "0/3000060",
    "accepts_connections": True,
    "synchronous_standby_names": 'ANY 1 ("pg2")',
}


def test_plain_data_in_and_out() -> None:
    decided = cluster_plan(DECLARED, {"pg1": PRIMARY, "pg2": {"state": "absent"}})

    assert decided["primary"] == "pg1"
    assert decided["members"]["pg2"]["action"] == "clone"


def test_a_member_without_observation_is_unreachable() -> None:
    decided = cluster_plan(DECLARED, {"pg1": {"state": "absent"}, "pg2": None})

    assert decided["primary"] is None
    assert "pg2 can't be reached" in decided["members"]["pg1"]["reason"]


def test_who_is_refused_and_who_is_held_is_listed_once() -> None:
    two = cluster_plan(DECLARED, {"pg1": PRIMARY, "pg2": PRIMARY})
    assert two["refusals"] == two["problems"] != []

    foreign = cluster_plan(DECLARED, {"pg1": PRIMARY, "pg2": {**PRIMARY, "state": "standby", "system_identifier": "8"}})
    assert [refusal.split(":")[0] for refusal in foreign["refusals"]] == ["pg2"]
    assert cluster_plan(DECLARED, {"pg1": PRIMARY, "pg2": None})["held"] == ["pg2"]


@pytest.mark.parametrize(
    ("declared", "observations", "message"),
    [
        ({"members": []}, {}, "found 0 declared primaries"),
        ({**DECLARED, "synchronous": "any_3"}, {}, "wrong value: 'any_3'"),
        (DECLARED, {"pg1": {"state": "gone"}}, "observation of pg1 is not what .*'gone'"),
        (DECLARED, {"pg1": {}}, "observation of pg1 is not what .*'state'"),
        (DECLARED, {"pg1": {**PRIMARY, "current_lsn": "x"}}, "not a WAL position"),
    ],
    ids=["no primary", "unknown mode", "unknown state", "no state", "broken position"],
)
def test_bad_input_is_told_apart(declared: dict[str, Any], observations: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        cluster_plan(declared, observations)
