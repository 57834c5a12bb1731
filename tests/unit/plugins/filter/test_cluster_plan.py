# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.renfo.redundancy.plugins.filter.cluster_plan import FilterModule

FILTERS = FilterModule().filters()
cluster_plan = FILTERS["cluster_plan"]

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


def test_no_cluster_is_made_beside_backups_of_one() -> None:
    empty = {"pg1": {"state": "absent"}, "pg2": {"state": "absent"}}
    nothing = {"stanza": "main", "histories": {}, "backups": [], "archives": [], "troubles": []}
    nothing |= {"version": 17, "timeline": None, "ancestry": []}
    backup = {"label": "x", "kind": "full", "repository": 1, "history": 1, "start": 0, "stop": 0, "size": 1}
    backup |= {"wal_first": "", "wal_last": "", "lsn_stop": "", "broken": False}
    kept = {"catalogue": {**nothing, "histories": {"1": "7"}, "backups": [backup]}}

    assert cluster_plan(DECLARED, empty)["refusals"] == []
    assert cluster_plan(DECLARED, empty, backups={"catalogue": nothing})["refusals"] == []
    waiting = cluster_plan(DECLARED, empty, backups=kept)
    assert (waiting["refusals"], waiting["primary"]) == ([], None)
    assert waiting["held"] == list(empty)
    assert {member["action"] for member in waiting["members"].values()} == {"restore"}
    assert "restore.yml -e restore_to=latest" in waiting["members"]["pg1"]["reason"]
    locked = {"catalogue": {**nothing, "troubles": ["repository 1: cipher"]}}
    (refusal,) = cluster_plan(DECLARED, empty, backups=locked)["refusals"]
    assert "repository 1: cipher. Is it the right passphrase" in refusal
    (refusal,) = cluster_plan(DECLARED, empty, backups="unknown")["refusals"]
    assert "it can't be told whether there are backups" in refusal
    # A cluster that is there is none to be made.
    there = {"pg1": PRIMARY, "pg2": {"state": "absent"}}
    assert cluster_plan(DECLARED, there, backups="unknown")["refusals"] == []
    assert cluster_plan(DECLARED, there, backups=kept)["refusals"] == []
    assert cluster_plan(DECLARED, there, backups=locked)["refusals"] == []


OLD = {**PRIMARY, "state": "stopped", "accepts_connections": False}
NEW = {**PRIMARY, "timeline": 2, "timeline_history": [{"timeline": 1, "switch_lsn": "0/3000000"}]}
MOVED = {"members": [{**DECLARED["members"][0]}, {**DECLARED["members"][1]}], "synchronous": "any_1"}


@pytest.mark.parametrize("hosts", [None, "", [], "pg1", " pg1, ", ["pg1"], iter(["pg1"])])
def test_rejoin(hosts: Any) -> None:
    seen = {"pg1": OLD, "pg2": NEW}
    assert cluster_plan(MOVED, seen)["held"] == ["pg1"]
    assert cluster_plan(MOVED, seen)["refusals"] == []

    decided = cluster_plan(MOVED, seen, intent="rejoin", hosts=hosts)

    assert decided["members"]["pg1"]["action"] == "rejoin"
    assert decided["held"] == []


def test_rejoin_of_somebody_else() -> None:
    assert cluster_plan(MOVED, {"pg1": OLD, "pg2": NEW}, intent="rejoin", hosts=["pg2"])["held"] == ["pg1"]
    assert "pg9 was named" in cluster_plan(MOVED, {"pg1": OLD, "pg2": NEW}, "rejoin", "pg9")["refusals"][0]


def test_an_intent_that_nobody_knows() -> None:
    with pytest.raises(AnsibleFilterError, match="intent is 'destroy', expected converge or rejoin"):
        cluster_plan(DECLARED, {}, intent="destroy")


class TestObserved:
    """What was registered on the hosts, and why nothing was."""

    HOSTVARS: ClassVar[dict[str, Any]] = {
        "pg1": {"pg_observed": {"instance": PRIMARY}},
        "pg2": {"pg_observed": {"unreachable": True, "msg": "No route to host"}},
    }

    @pytest.mark.parametrize(
        ("registered", "why"),
        [
            (
                {"unreachable": True, "msg": "Failed to connect to the host via ssh: ssh: timed\n out."},
                "timed out",
            ),
            ({"unreachable": True, "msg": "Task failed: Failed to connect to the host via ssh: ssh: off"}, "off"),
            (
                {
                    "unreachable": True,
                    "msg": 'Task failed: Data could not be sent to remote host "10.0.0.1". Make sure this host can be '
                    "reached over ssh: ssh: connect to host 10.0.0.1 port 22: Connection timed out",
                },
                "connect to host 10.0.0.1 port 22: Connection timed out",
            ),
            ({"failed": True, "msg": "pg_control can't be trusted"}, "pg_control can't be trusted"),
            ({"failed": True}, "no answer"),
            ({"skipped": True}, "it was not asked"),
            (None, "it was not asked"),
            ({"failed": True, "msg": "x" * 500}, "x" * 117 + "..."),
        ],
        ids=[
            "unreachable",
            "unreachable, newer",
            "unreachable while pipelining",
            "failed",
            "says nothing",
            "skipped",
            "left out",
            "long",
        ],
    )
    def test_why_there_is_no_observation(self, registered: dict[str, Any] | None, why: str) -> None:
        hostvars = {**self.HOSTVARS, "pg2": {} if registered is None else {"pg_observed": registered}}

        assert FILTERS["observation_errors"](DECLARED, hostvars) == {"pg2": why}
        assert FILTERS["observed"](DECLARED, hostvars) == {"pg1": PRIMARY, "pg2": None}


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
