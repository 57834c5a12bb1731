# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import Catalogue
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_restore import (
    RestorePlan,
    backup_lines,
    overtaken,
    report_lines,
    restore_plan,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import Observation, State

NOON = 1795435200.0  # 2026-11-23 12:00 UTC
SYSTEM = "7443211234567890123"
MEMBERS = ("pg1", "pg2", "pg3")
LABEL = "20261123-013000F"
BACKUPS: dict[str, Any] = {
    "catalogue": {
        "stanza": "main",
        "histories": {"1": SYSTEM},
        "backups": [
            {
                "label": LABEL,
                "kind": "full",
                "repository": 1,
                "history": 1,
                "start": NOON - 7300,
                "stop": NOON - 7200,
                "size": 5_000_000,
                "wal_first": "000000010000000000000005",
                "wal_last": "000000010000000000000006",
                "lsn_stop": "0/6000100",
                "broken": False,
            }
        ],
        "archives": [{"repository": 1, "history": 1, "first": "0" * 24, "last": "000000010000000000000009"}],
        "troubles": [],
        "version": 17,
        "timeline": None,
        "ancestry": [],
    },
    "units": {},
    "next_backup": "2026-11-24 01:30:00 UTC",
    "media": {"times": [NOON - 5400, NOON - 1800]},
}


def member(state: State, system: str = SYSTEM) -> Observation:
    return Observation(state, version=17, system_identifier=system, timeline=1)


def decide(asked: dict[str, Any], backups: dict[str, Any] | None = BACKUPS, **seen: Observation | None) -> RestorePlan:
    whole = {"pg1": member(State.PRIMARY), "pg2": member(State.STANDBY), "pg3": member(State.STANDBY), **seen}
    return restore_plan(MEMBERS, whole, backups, asked, NOON)


def test_a_point_in_time_takes_the_place_of_the_live_primary() -> None:
    found = decide({"to": "2026-11-23T11:00:00Z"}, pg1=member(State.STANDBY), pg2=member(State.PRIMARY))
    assert found.refusals == ()
    assert (found.target, found.live, found.stop_first, found.standbys) == ("pg2", True, False, ("pg1", "pg3"))
    assert (found.label, found.size) == (LABEL, 5_000_000)
    assert found.options[1:] == ("--type=time", "--target=2026-11-23 11:00:00.000000+00", "--target-action=pause")
    assert "as of 2026-11-23 11:00:00 UTC" in found.text
    assert "pg2 serves until the copy is ready" in found.text


def test_for_the_latest_everybody_stops_first() -> None:
    """What is written after the last WAL that was archived would be lost."""
    found = decide({"to": "latest"})
    assert found.stop_first
    assert "gives up     nothing" in found.text


def test_beside_nothing_is_stopped_nor_rebuilt() -> None:
    found = decide({"label": LABEL, "place": "beside", "host": "pg3"})
    assert (found.target, found.live, found.stop_first, found.standbys) == ("pg3", False, False, ())
    assert decide({"to": "latest", "place": "beside"}).target == "pg1"
    # One that can't be reached doesn't matter then.
    assert decide({"to": "latest", "place": "beside"}, pg2=None).refusals == ()


def test_the_copy_is_removed_without_backups() -> None:
    assert decide({"place": "absent", "host": "pg3"}, None).target == "pg3"


def test_where_nobody_is_the_primary_the_host_is_named() -> None:
    found = decide({"to": "latest", "host": "pg2"}, pg1=member(State.STOPPED))
    assert (found.target, found.live, found.stop_first) == ("pg2", False, False)
    assert "what the archive never received" in found.text


@pytest.mark.parametrize(
    ("asked", "seen", "words"),
    [
        ({}, {}, "say what to restore"),
        ({"to": "latest", "label": LABEL}, {}, "say what to restore"),
        ({"to": "latest", "place": "elsewhere"}, {}, "expected replace or beside"),
        ({"to": "latest", "timeline": "two"}, {}, "expected a number"),
        ({"to": "latest", "what": "some"}, {}, "expected all or database or media"),
        ({"to": "latest", "what": "media", "place": "beside"}, {}, "restore_what=media goes with no restore_place"),
        ({"to": "2026-11-23T13:00:00Z", "what": "media"}, {}, "in the future"),
        ({"to": "2026-11-23T13:00:00Z"}, {}, "in the future"),
        ({"to": "latest", "host": "pg9"}, {}, "expected a member of the cluster (pg1, pg2, pg3)"),
        ({"to": "latest", "host": "pg2"}, {}, "pg1 is the live primary"),
        ({"to": "latest"}, {"pg3": None}, "pg3 can't be reached, and may be a primary"),
        ({"to": "latest", "place": "beside", "host": "pg3"}, {"pg3": None}, "pg3 can't be reached"),
        ({"to": "latest"}, {"pg1": member(State.STOPPED)}, "nobody is the primary"),
        ({"to": "latest"}, {"pg2": member(State.PRIMARY)}, "several of them are primaries"),
        ({"to": "latest"}, {"pg2": member(State.STANDBY, "1")}, "don't belong to one cluster"),
        (
            {"to": "latest"},
            {
                name: member(state, "1")
                for name, state in zip(MEMBERS, (State.PRIMARY, *[State.STANDBY] * 2), strict=True)
            },
            f"backups of the cluster {SYSTEM}, expected 1",
        ),
    ],
)
def test_what_is_refused(asked: dict[str, Any], seen: dict[str, Observation | None], words: str) -> None:
    (refusal,) = decide(asked, **seen).refusals
    assert words in refusal


def test_a_fenced_host_would_not_start() -> None:
    fenced = dataclasses.replace(member(State.STOPPED), fenced=True, fenced_reason="pg2 took over")
    (refusal,) = decide({"to": "latest", "host": "pg1"}, pg1=fenced).refusals
    assert "pg1 is fenced (pg2 took over)" in refusal


def test_empty_hosts_get_what_the_backup_host_has() -> None:
    empty = dict.fromkeys(MEMBERS, Observation(State.ABSENT))
    found = decide({"to": "latest"}, **empty)
    assert (found.refusals, found.target, found.live, found.standbys) == ((), "pg1", False, ("pg2", "pg3"))
    assert found.version == 17
    assert "goes         to pg1; no member holds a database" in found.text
    assert "gives up" not in found.text
    (refusal,) = decide({"to": "latest"}, **{**empty, "pg2": None}).refusals
    assert "pg2 can't be reached" in refusal
    fenced = Observation(State.ABSENT, fenced=True, fenced_reason="pg2 took over")
    (refusal,) = decide({"to": "latest"}, **{**empty, "pg1": fenced}).refusals
    assert "pg1 is fenced" in refusal


def test_what_a_repository_with_troubles_has_is_not_needed() -> None:
    backups = copy.deepcopy(BACKUPS)
    backups["catalogue"]["troubles"] = ["repository 2: no answer"]
    assert "without      repository 2: no answer" in decide({"to": "latest"}, backups).text


def test_media_come_back_as_of_the_same_time() -> None:
    found = decide({"to": "2026-11-23T11:00:00Z"})
    assert (found.media, found.moment, found.rows_from) == (True, NOON - 3600, "pg1")
    assert "as in the snapshot of 2026-11-23 10:30:00 UTC" in found.text
    found = decide({"to": "latest"})
    assert (found.media, found.moment) == (True, None)
    assert "what is missing comes back from the snapshot of 2026-11-23 11:30:00 UTC" in found.text
    assert decide({"label": LABEL}).moment == NOON - 7200
    assert "as in the first snapshot, of 2026-11-23 10:30:00 UTC" in decide({"label": LABEL}).text
    assert not decide({"to": "latest", "what": "database"}).media
    assert not decide({"to": "latest", "place": "beside"}).media
    bare = {**BACKUPS, "media": {}}
    assert not decide({"to": "latest"}, bare).media
    assert "there is no snapshot of the store" in decide({"to": "latest"}, bare).text


def test_media_alone_leave_the_database_alone() -> None:
    found = decide({"what": "media", "to": "latest"}, pg2=None)
    assert (found.refusals, found.place, found.target, found.rows_from) == ((), "media", "", "pg1")
    assert found.media
    assert not found.stop_first
    assert decide({"what": "media", "label": LABEL}).moment == NOON - 7200
    assert decide({"what": "media", "to": "latest"}, pg1=None).rows_from == ""


@pytest.mark.parametrize(
    ("pg2", "words"),
    [
        (Observation(State.STOPPED, timeline=2), "pg2 is on timeline 2 now"),
        (Observation(State.PRIMARY, timeline=1), "pg2 is on timeline 1 now"),
        (None, "pg2 is out of reach now"),
    ],
)
def test_what_was_decided_is_not_done_after_a_failover(pg2: Observation | None, words: str) -> None:
    stopped = {"pg1": Observation(State.STOPPED, timeline=1), "pg3": Observation(State.ABSENT)}
    assert overtaken(1, stopped) == []
    (refusal,) = overtaken(1, {**stopped, "pg2": pg2})
    assert words in refusal


def test_without_a_repository_nothing_is_restored() -> None:
    (refusal,) = decide({"to": "latest"}, None).refusals
    assert "no backups can be read" in refusal


def test_what_is_said_afterwards() -> None:
    ready = {"seconds": {"fetch": 1.25}, "restored": {"last_commit": "2026-11-23 10:59:59+00"}, "reach": "psql -h /x"}
    results = {
        "ready": ready,
        "placed": {"old": "/var/lib/main.before-1"},
        "finished": {"restored": {"timeline": 2}, "seconds": {"start": 0.5}},
    }
    replaced = "\n".join(report_lines(decide({"to": "2026-11-23T11:00:00Z"}).to_dict(), results))
    assert "timeline 2 (fetch 1.2 s, start 0.5 s)" in replaced
    assert "last commit in it is of 2026-11-23 10:59:59+00" in replaced
    assert "/var/lib/main.before-1" in replaced
    beside = "\n".join(report_lines(decide({"to": "latest", "place": "beside"}).to_dict(), results))
    assert "psql -h /x" in beside
    gone = "\n".join(report_lines(decide({"place": "absent"}).to_dict(), {}))
    assert gone == "The copy on pg1 is gone."


def test_the_backups_are_shown() -> None:
    data = copy.deepcopy(BACKUPS)
    data["catalogue"]["backups"][0]["broken"] = True
    text = "\n".join(backup_lines(Catalogue.from_dict(data["catalogue"]), data))
    assert LABEL in text
    assert "BROKEN" in text
    assert "WAL to 000000010000000000000009" in text
    assert "next backup: 2026-11-24 01:30:00 UTC" in text
