# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Action,
    DeclarationError,
    Declared,
    Intent,
    Lsn,
    Member,
    Observation,
    Plan,
    ReplicationClient,
    Role,
    Slot,
    State,
    Synchronous,
    TimelineSwitch,
    Upstream,
    choose_candidate,
    divergence,
    loss_ruled_out,
    plan,
    slot_name,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from pg_members import (
    ABSENT,
    ADDRESSES,
    HALF_CLONED,
    THREE,
    UNREACHABLE,
    Seen,
    clusters,
    live_primaries,
    members,
    positions,
    primary,
    standby,
    stopped_primary,
    stopped_standby,
    timelines,
)

MAKES_A_PRIMARY = {Action.BOOTSTRAP, Action.START}


def actions(decided: Plan) -> str:
    return " ".join(member.action.value for member in decided.members)


def reason(decided: Plan, name: str) -> str:
    return next(member.reason for member in decided.members if member.name == name)


class TestLsn:
    @pytest.mark.parametrize("text", ["0/0", "0/3000060", "1/0", "A/FFFFFFFF", "FFFFFFFF/1"])
    def test_reads_and_prints_what_postgresql_prints(self, text: str) -> None:
        assert str(Lsn.parse(text)) == f"{Lsn.parse(text)}" == text

    def test_compares_as_a_number(self) -> None:
        assert Lsn.parse("1/0") > Lsn.parse("0/FFFFFFFF") > Lsn.parse("0/A")

    @pytest.mark.parametrize("text", ["", "0", "0/", "0/G", "0/123456789", "-1/0"])
    def test_refuses_anything_else(self, text: str) -> None:
        with pytest.raises(ValueError, match="is not a WAL position such as"):
            Lsn.parse(text)


class TestDeclared:
    def test_two_primaries_name_both_and_say_what_to_do(self) -> None:
        two = tuple(replace(member, role=Role.PRIMARY) for member in members("pg1", "pg2"))
        with pytest.raises(DeclarationError, match=r"found 2 .*pg1, pg2.*expected exactly one"):
            Declared(two)

    def test_no_primary(self) -> None:
        with pytest.raises(DeclarationError, match="found 0 declared primaries"):
            Declared(())

    def test_the_same_host_twice(self) -> None:
        with pytest.raises(DeclarationError, match="more than once: pg1"):
            Declared(members("pg1", "pg1"))

    @pytest.mark.parametrize(
        ("member", "message"),
        [
            ({"name": "pg1", "port": 1, "role": "primary"}, "'address' is missing"),
            ({"name": "a", "address": "b", "port": 1, "role": "boss"}, "wrong value: 'boss'"),
        ],
        ids=["address missing", "unknown role"],
    )
    def test_a_member_that_is_not_understood(self, member: dict[str, Any], message: str) -> None:
        with pytest.raises(DeclarationError, match=message):
            Declared.from_dict({"members": [member]})


WHAT_TO_DO: list[Any] = [
    pytest.param([ABSENT, ABSENT, ABSENT], "pg1", "bootstrap clone clone", id="nothing anywhere"),
    pytest.param([ABSENT, ABSENT, UNREACHABLE], None, "hold hold hold", id="nothing, one unreachable"),
    pytest.param([UNREACHABLE, ABSENT, ABSENT], None, "hold hold hold", id="declared unreachable"),
    pytest.param([UNREACHABLE] * 3, None, "hold hold hold", id="nobody can be reached"),
    pytest.param([ABSENT, HALF_CLONED, ABSENT], None, "refuse refuse refuse", id="half a clone, no source"),
    pytest.param([primary(), standby(), standby(me="pg3")], "pg1", "none none none", id="a whole cluster"),
    pytest.param([primary(), ABSENT, HALF_CLONED], "pg1", "none clone clone", id="new standbys"),
    pytest.param([primary(), UNREACHABLE, ABSENT], "pg1", "none hold clone", id="a standby is down"),
    pytest.param(
        [ABSENT, primary(2), standby("pg2", "pg3", 2)],
        "pg2",
        "clone none none",
        id="declared primary lost its data, another is live",
    ),
    pytest.param(
        [standby("pg2", "pg1", 2), primary(2), standby("pg2", "pg3", 2)],
        "pg2",
        "none none none",
        id="after a failover",
    ),
    pytest.param(
        [stopped_primary(1, 90), primary(2), standby("pg2", "pg3", 2)],
        "pg2",
        "hold none none",
        id="the old primary came back",
    ),
    pytest.param(
        [UNREACHABLE, primary(2), standby("pg1", "pg3", 1, 100, streaming=False)],
        "pg2",
        "hold none follow",
        id="a standby that still follows the lost primary",
    ),
    pytest.param(
        [UNREACHABLE, primary(2), standby("pg1", "pg3", 1, 101, streaming=False)],
        "pg2",
        "hold none hold",
        id="a standby past the fork",
    ),
    pytest.param(
        [primary(3, timeline_history=()), standby(timeline=2), standby(me="pg3", timeline=3)],
        "pg1",
        "none hold none",
        id="a standby on a timeline that is no ancestor",
    ),
    pytest.param(
        [primary(1), standby("pg3", "pg2", 2, 90), UNREACHABLE],
        "pg1",
        "none refuse hold",
        id="a standby follows somebody on a later timeline",
    ),
    pytest.param(
        [primary(1, 500), standby(lsn=501, streaming=False), standby(me="pg3", lsn=501)],
        "pg1",
        "none hold none",
        id="ahead of the primary and not streaming",
    ),
    pytest.param(
        [primary(), standby(system_identifier="8"), ABSENT],
        "pg1",
        "none refuse clone",
        id="a standby of another cluster",
    ),
    pytest.param(
        [primary(), stopped_standby(version=15), ABSENT],
        "pg1",
        "none refuse clone",
        id="another PostgreSQL version",
    ),
    pytest.param(
        [primary(), stopped_standby(), standby(me="pg3", streaming=False)],
        "pg1",
        "none follow follow",
        id="stopped and disconnected standbys",
    ),
    pytest.param(
        [primary(), standby(me="old"), standby(me="pg3", upstream=None)],
        "pg1",
        "none follow follow",
        id="wrong slot, no upstream",
    ),
    pytest.param(
        [primary(accepts_connections=False), standby(), ABSENT],
        "pg1",
        "hold none hold",
        id="the primary is frozen",
    ),
    pytest.param(
        [primary(accepts_connections=False), standby("pg3"), ABSENT],
        "pg1",
        "hold hold hold",
        id="the primary is frozen, a standby follows another",
    ),
    pytest.param(
        [primary(1), primary(2), standby(me="pg3")],
        None,
        "refuse refuse refuse",
        id="two primaries",
    ),
    pytest.param(
        [stopped_primary(), stopped_standby(), stopped_standby(me="pg3")],
        "pg1",
        "start follow follow",
        id="everything stopped",
    ),
    pytest.param(
        [stopped_primary(), ABSENT, ABSENT],
        "pg1",
        "start clone clone",
        id="a stopped primary alone",
    ),
    pytest.param(
        [stopped_standby("pg2", "pg1", 2), stopped_primary(2), stopped_standby("pg2", "pg3", 2)],
        "pg2",
        "follow start follow",
        id="everything stopped after a failover",
    ),
    pytest.param(
        [stopped_primary(1, 90), stopped_primary(2), ABSENT],
        "pg2",
        "hold start clone",
        id="two stopped primaries on two timelines",
    ),
    pytest.param(
        [stopped_primary(1), stopped_primary(1), ABSENT],
        None,
        "refuse refuse hold",
        id="two stopped primaries on one timeline",
    ),
    pytest.param(
        [stopped_primary(), stopped_standby(), UNREACHABLE],
        "pg1",
        "start follow hold",
        id="a standby vouches for the stopped primary",
    ),
    pytest.param(
        [stopped_primary(), stopped_standby("pg3"), UNREACHABLE],
        None,
        "hold hold hold",
        id="the only standby seen follows another",
    ),
    pytest.param([stopped_primary(), ABSENT, UNREACHABLE], None, "hold hold hold", id="nobody vouches"),
    pytest.param(
        [stopped_primary(1), stopped_standby("pg3", timeline=2), UNREACHABLE],
        None,
        "hold hold hold",
        id="a standby has seen a later timeline, its primary unreachable",
    ),
    pytest.param(
        [stopped_primary(1), stopped_standby("pg3", timeline=2), ABSENT],
        None,
        "refuse hold hold",
        id="a standby has seen a later timeline, its primary gone",
    ),
    pytest.param(
        [stopped_primary(fenced=True, fenced_reason="failover"), standby(), standby(me="pg3")],
        None,
        "hold hold hold",
        id="the stopped primary is fenced",
    ),
    pytest.param(
        [stopped_primary(fenced=True, held=True), standby(), standby(me="pg3")],
        "pg1",
        "start none none",
        id="the guard held the stopped primary, and it is the right one",
    ),
    pytest.param(
        [stopped_primary(fenced=True, held=True), UNREACHABLE, UNREACHABLE],
        None,
        "hold hold hold",
        id="the guard held the stopped primary, and nobody else answers",
    ),
    pytest.param(
        [stopped_primary(1, 90, fenced=True, fenced_reason="failover"), primary(2), standby("pg2", "pg3", 2)],
        "pg2",
        "hold none none",
        id="the fenced old primary waits to come back",
    ),
    pytest.param(
        [standby("pg2", "pg1", 2, fenced=True), primary(2), standby("pg2", "pg3", 2)],
        "pg2",
        "hold none none",
        id="a standby that streams and is still fenced",
    ),
    pytest.param(
        [primary(slots=(Slot("pg2", wal_status="lost"),)), standby(streaming=False), standby(me="pg3")],
        "pg1",
        "none hold none",
        id="a standby whose slot is lost",
    ),
    pytest.param(
        [primary(oldest_lsn=Lsn(900)), standby(lsn=899, streaming=False), standby(me="pg3", lsn=900, streaming=False)],
        "pg1",
        "none hold follow",
        id="a standby whose WAL is gone, another at its very beginning",
    ),
    pytest.param(
        [
            primary(oldest_lsn=Lsn(900)),
            stopped_standby(lsn=1),
            standby(me="pg3", lsn=1, streaming=False, lsn_exact=False),
        ],
        "pg1",
        "none follow follow",
        id="whoever may hold more than it shows may have it all",
    ),
    pytest.param(
        [primary(2), standby(timeline=2, streaming=False, timeline_history=(TimelineSwitch(1, Lsn(99)),)), ABSENT],
        "pg1",
        "none hold clone",
        id="a timeline of the same number from another promotion",
    ),
    pytest.param(
        [stopped_primary(2), standby(timeline=2, timeline_history=(TimelineSwitch(1, Lsn(99)),)), ABSENT],
        None,
        "refuse hold hold",
        id="the stopped primary and a standby come from two promotions",
    ),
    pytest.param(
        [stopped_primary(lsn=1000), standby(lsn=1120, streaming=False), ABSENT],
        "pg1",
        "start follow clone",
        id="the standby holds the shutdown checkpoint",
    ),
    pytest.param(
        [stopped_primary(lsn=1000), standby(lsn=2000, streaming=False), ABSENT],
        None,
        "refuse hold hold",
        id="the cleanly stopped primary lacks what a standby has",
    ),
    pytest.param(
        [stopped_primary(lsn=1000, clean_shutdown=False), standby(lsn=2000), ABSENT],
        "pg1",
        "start none clone",
        id="a crashed primary holds more than it shows",
    ),
    pytest.param([UNREACHABLE, standby(), standby(me="pg3")], None, "hold hold hold", id="primary is down"),
    pytest.param(
        [ABSENT, standby(), standby(me="pg3")],
        None,
        "hold refuse refuse",
        id="the primary's data is gone, standbys hold it",
    ),
    pytest.param(
        [stopped_primary(), stopped_standby(system_identifier="8"), ABSENT],
        None,
        "refuse refuse hold",
        id="two clusters, no live primary to tell which",
    ),
]


@pytest.mark.parametrize(("observed", "expected_primary", "expected_actions"), WHAT_TO_DO)
def test_plan(observed: list[Observation | None], expected_primary: str | None, expected_actions: str) -> None:
    decided = plan(dict(zip(ADDRESSES, observed, strict=True)), THREE)

    assert (decided.primary, actions(decided)) == (expected_primary, expected_actions)


REJOIN: list[Any] = [
    pytest.param([stopped_primary(1, 150), primary(2), standby("pg2", "pg3", 2)], "rejoin none none", id="old primary"),
    pytest.param([stopped_primary(1, 90), primary(2), ABSENT], "rejoin none clone", id="an empty member too"),
    pytest.param(
        [UNREACHABLE, primary(2), standby("pg1", "pg3", 1, 100, streaming=False)], "hold none follow", id="follows"
    ),
    pytest.param(
        [UNREACHABLE, primary(2), standby("pg1", "pg3", 1, 101, streaming=False)],
        "hold none rejoin",
        id="past the fork",
    ),
    pytest.param(
        [standby("pg2", "pg1", 2, fenced=True), primary(2), standby("pg2", "pg3", 2)],
        "rejoin none none",
        id="streams and is still fenced",
    ),
    pytest.param(
        [primary(slots=(Slot("pg2", wal_status="lost"),)), standby(streaming=False), standby(me="pg3")],
        "none rejoin none",
        id="slot lost",
    ),
    pytest.param(
        [primary(oldest_lsn=Lsn(900)), standby(lsn=899, streaming=False), standby(me="pg3")],
        "none rejoin none",
        id="WAL gone",
    ),
    pytest.param(
        [primary(1, 500), standby(lsn=501, streaming=False), standby(me="pg3", lsn=500)],
        "none hold none",
        id="ahead on the timeline of the primary",
    ),
    pytest.param([stopped_primary(1), primary(1), ABSENT], "hold none clone", id="a primary of the same timeline"),
    pytest.param(
        [stopped_primary(), primary(2, accepts_connections=False), ABSENT], "hold hold hold", id="the primary is frozen"
    ),
    pytest.param([stopped_primary(), standby(), standby(me="pg3")], "refuse refuse refuse", id="no live primary"),
    pytest.param([ABSENT, ABSENT, ABSENT], "refuse refuse refuse", id="no data"),
    pytest.param([primary(1), primary(2), standby("pg2", "pg3", 2)], "refuse refuse refuse", id="two primaries"),
    pytest.param(
        [stopped_primary(system_identifier="8"), primary(2), ABSENT], "refuse none clone", id="of another cluster"
    ),
    pytest.param([stopped_primary(3), primary(2), ABSENT], "refuse none clone", id="on a later timeline"),
]


@pytest.mark.parametrize(("observed", "expected"), REJOIN)
def test_rejoin(observed: list[Observation | None], expected: str) -> None:
    assert actions(plan(dict(zip(ADDRESSES, observed, strict=True)), THREE, Intent.REJOIN)) == expected


NAMED: list[Any] = [
    pytest.param([stopped_primary(1, 90), primary(2), ABSENT], ["pg1"], "rejoin none hold", id="the others are left"),
    pytest.param([standby("pg2", "pg1", 2), primary(2), ABSENT], ["pg1"], "none none hold", id="nothing to do for it"),
    pytest.param(
        [primary(1), primary(2), standby("pg2", "pg3", 2)], ["pg1"], "rejoin none none", id="the older primary"
    ),
    pytest.param([primary(1), primary(2), ABSENT], ["pg2"], "refuse refuse refuse", id="the later primary"),
    pytest.param([primary(1), primary(1), ABSENT], ["pg1"], "refuse refuse refuse", id="none is older"),
    pytest.param([primary(1), primary(2), ABSENT], ["pg1", "pg2"], "refuse refuse refuse", id="both"),
    pytest.param([primary(1), primary(2), primary(3)], ["pg1", "pg2"], "rejoin rejoin none", id="three primaries"),
    pytest.param([primary(1), primary(2), primary(3)], ["pg1"], "refuse refuse refuse", id="one of three"),
    pytest.param(
        [primary(1), primary(2, accepts_connections=False), ABSENT],
        ["pg1"],
        "refuse refuse refuse",
        id="later is frozen",
    ),
    pytest.param(
        [primary(1, system_identifier="8"), primary(2), ABSENT], ["pg1"], "refuse refuse refuse", id="another cluster"
    ),
    pytest.param([stopped_primary(1), primary(1), ABSENT], ["pg1"], "rejoin none hold", id="of the same timeline"),
    pytest.param(
        [primary(1, 500), standby(lsn=501, streaming=False), ABSENT], ["pg2"], "none rejoin hold", id="ahead on it"
    ),
    pytest.param([primary(1), standby(), ABSENT], ["pg1"], "none none hold", id="the live primary"),
    pytest.param(
        [primary(1), standby(), ABSENT], ["pg1", "pg3"], "none none clone", id="the live primary, and another"
    ),
    pytest.param([primary(1), standby(), ABSENT], ["pg9"], "refuse refuse refuse", id="no member"),
]


@pytest.mark.parametrize(("observed", "hosts", "expected"), NAMED)
def test_rejoin_of_those_that_were_named(observed: list[Observation | None], hosts: list[str], expected: str) -> None:
    decided = plan(dict(zip(ADDRESSES, observed, strict=True)), THREE, Intent.REJOIN, hosts)

    assert actions(decided) == expected


def test_a_standby_of_somebody_who_cannot_be_asked_is_a_reason_to_wait() -> None:
    """With four members one standby may vouch while another one follows the new primary already."""
    four = Declared((*members("pg1", "pg2", "pg3"), Member("pg4", "10.0.0.4", 5432, Role.REPLICA)))
    elsewhere = standby(me="pg3", streaming=False, upstream=Upstream("pg4", "10.0.0.4", 5432, "pg3"))
    seen = {"pg1": stopped_primary(), "pg2": standby(streaming=False), "pg3": elsewhere, "pg4": None}

    assert actions(plan(seen, four)) == "hold hold hold hold"
    assert "pg4 can't be reached and may have been promoted, and pg3 follows it" in reason(plan(seen, four), "pg1")
    assert actions(plan({**seen, "pg4": ABSENT}, four)) == "start follow follow clone"


class TestReasons:
    """What the operator reads: what was found, what was expected, what to do."""

    def test_two_primaries_say_which_is_ahead(self) -> None:
        decided = plan({"pg1": primary(1, 5000), "pg2": primary(2, 300), "pg3": None}, THREE)

        (problem,) = decided.problems
        assert "pg1: timeline 1 at 0/1388; pg2: timeline 2 at 0/12C" in problem
        assert "pg2 is ahead" in problem
        assert "rejoin.yml" in problem

    def test_two_primaries_of_different_clusters(self) -> None:
        (problem,) = plan({"pg1": primary(), "pg2": primary(system_identifier="8"), "pg3": None}, THREE).problems
        assert "pg1: system identifier 7; pg2: system identifier 8" in problem
        assert "different clusters" in problem
        assert "rejoin.yml" not in problem

    def test_two_primaries_at_the_same_point(self) -> None:
        decided = plan({"pg1": primary(), "pg2": primary(), "pg3": ABSENT}, THREE)

        assert "none of them is ahead" in decided.problems[0]

    def test_another_system_identifier(self) -> None:
        foreign = standby(system_identifier="8", data_directory="/data")
        decided = plan({"pg1": primary(), "pg2": foreign}, THREE)

        assert "/data has system identifier 8, expected 7" in reason(decided, "pg2")
        assert "Move it away" in reason(decided, "pg2")

    def test_history_that_no_other_member_holds(self) -> None:
        decided = plan({"pg2": primary(2), "pg3": standby("pg1", "pg3", 1, 0x3000060, streaming=False)}, THREE)

        assert "up to 0/3000060" in reason(decided, "pg3")
        assert "left that timeline at 0/64" in reason(decided, "pg3")
        assert reason(decided, "pg3").endswith("Run rejoin.yml")

    @pytest.mark.parametrize(
        ("old", "command"),
        [
            (stopped_primary(1, 90), "Run rejoin.yml"),
            (stopped_primary(2), "Run rejoin.yml -e rejoin_hosts=pg1"),
            (standby("pg2", "pg1", 2, 1001, streaming=False), "Run rejoin.yml -e rejoin_hosts=pg1"),
        ],
        ids=["an earlier timeline", "the same timeline", "ahead"],
    )
    def test_who_waits_to_come_back_is_told_the_command(self, old: Observation, command: str) -> None:
        decided = plan({"pg1": old, "pg2": primary(2), "pg3": standby("pg2", "pg3", 2)}, THREE)

        assert reason(decided, "pg1").endswith(command)
        assert decided.problems == ()
        assert decided.degraded

    def test_two_primaries_are_told_the_command(self) -> None:
        (problem,) = plan({"pg1": primary(1), "pg2": primary(2), "pg3": None}, THREE).problems
        assert "Run rejoin.yml -e rejoin_hosts=pg1," in problem

    def test_names_that_are_wrong(self) -> None:
        seen = {"pg1": primary(), "pg2": standby(), "pg3": standby(me="pg3")}

        (problem,) = plan(seen, THREE, Intent.REJOIN, ["pg9"]).problems
        assert "pg9 was named, expected members of the cluster (pg1, pg2, pg3)" in problem
        assert plan(seen, THREE, Intent.REJOIN, ["pg1"]).notes == ("pg1 was named, but it is the live primary",)

    def test_nobody_to_come_back_to(self) -> None:
        (problem,) = plan({"pg1": stopped_primary(), "pg2": standby(), "pg3": None}, THREE, Intent.REJOIN).problems
        assert "failover.yml" in problem
        assert "site.yml" in problem

    def test_why_a_standby_cannot_catch_up(self) -> None:
        live = primary(oldest_lsn=Lsn(0x3000000), lsn=0x4000000)
        seen = {"pg1": live, "pg2": standby(lsn=0x2000000, streaming=False), "pg3": None}

        assert "stands at 0/2000000, the primary pg1 has nothing before 0/3000000" in reason(plan(seen, THREE), "pg2")

    def test_two_promotions_to_the_same_number(self) -> None:
        other = stopped_primary(2, timeline_history=(TimelineSwitch(1, Lsn(0x60)),))
        seen = {"pg1": standby("pg2", "pg1", 2, streaming=False, timeline_history=other.timeline_history)}

        why = reason(plan({**seen, "pg2": primary(2), "pg3": None}, THREE), "pg1")
        assert "left timeline 1 at 0/60" in why
        assert "left timeline 1 at 0/64" in why
        assert "-e rejoin_hosts=pg1" in why

    def test_a_live_primary_that_could_not_start_again(self) -> None:
        seen = {"pg1": primary(fenced=True, fenced_reason="failover"), "pg2": standby(), "pg3": standby(me="pg3")}
        decided = plan(seen, THREE)

        assert actions(decided) == "none none none"
        assert decided.degraded
        assert "fence marker keeps it from starting again (failover): remove the file" in decided.notes[0]

    def test_rivals_can_be_started_by_hand(self) -> None:
        (problem,) = plan({"pg1": stopped_primary(), "pg2": stopped_primary(), "pg3": ABSENT}, THREE).problems
        assert "echo by hand > /run/postgresql/17-main.start; systemctl start postgresql@17-main" in problem

    def test_who_keeps_the_cluster_from_being_made(self) -> None:
        decided = plan({"pg1": ABSENT, "pg2": ABSENT}, THREE)

        assert "pg3 can't be reached" in reason(decided, "pg1")
        assert "run site.yml again" in reason(decided, "pg1")

    def test_a_lost_primary_leads_to_failover(self) -> None:
        decided = plan({"pg2": standby(), "pg3": standby(me="pg3")}, THREE)

        assert "pg1 can't be reached" in reason(decided, "pg2")
        assert "failover.yml" in reason(decided, "pg2")

    def test_a_role_that_moved_is_reported_not_undone(self) -> None:
        decided = plan(
            {"pg1": standby("pg2", "pg1", 2), "pg2": primary(2), "pg3": standby("pg2", "pg3", 2)},
            THREE,
        )

        assert decided.notes == (
            (
                "pg2 is the primary, the inventory says pg1: in the inventory, put pg2 into pg_primary and pg1 "
                "into pg_replica, or go back with switchover.yml -e switchover_to=pg1"
            ),
        )
        assert not decided.degraded

    def test_a_primary_that_quietly_stopped_being_synchronous(self) -> None:
        seen = {
            "pg1": primary(synchronous_standby_names=""),
            "pg2": standby(),
            "pg3": standby(me="pg3"),
        }

        assert "without waiting for a standby" in plan(seen, THREE).notes[0]
        assert plan(seen, THREE).degraded
        assert not plan(seen, replace(THREE, synchronous=Synchronous.OFF)).degraded

    def test_paused_replay_is_degraded(self) -> None:
        seen = {"pg1": primary(), "pg2": standby(replay_paused=True), "pg3": standby(me="pg3")}

        assert plan(seen, THREE).degraded
        assert "pg_wal_replay_resume" in plan(seen, THREE).notes[0]


@pytest.mark.parametrize(
    ("observed", "action"),
    [
        (ABSENT, Action.BOOTSTRAP),
        (primary(), Action.NONE),
        (stopped_primary(), Action.START),
        (None, Action.HOLD),
        (stopped_standby(), Action.REFUSE),
    ],
    ids=["empty", "running", "stopped", "unreachable", "a standby of nobody"],
)
def test_a_single_member(observed: Observation | None, action: Action) -> None:
    (decided,) = plan({"pg1": observed}, Declared(members("pg1"))).members

    assert decided.action is action


def test_plan_as_plain_data() -> None:
    decided = plan({"pg1": primary(), "pg2": ABSENT}, THREE).to_dict()

    assert json.loads(json.dumps(decided)) == decided
    assert list(decided["members"]) == ["pg1", "pg2", "pg3"]
    assert decided["members"]["pg2"] == {
        "action": "clone",
        "reason": "it holds no database",
        "upstream": "pg1",
    }


def test_observation_survives_the_way_through_json() -> None:
    seen = primary(
        3,
        replication=(ReplicationClient("pg2", flush_lsn=Lsn(5), ssl=True),),
        slots=(Slot("pg2", restart_lsn=Lsn(4)),),
        upstream=Upstream("pg1", slot="pg2"),
        pending_restart=("shared_buffers",),
    )

    plain = json.loads(json.dumps(seen.to_dict()))

    assert plain["current_lsn"] == "0/3E8"
    assert Observation.from_dict(plain) == seen


@pytest.mark.parametrize(("host", "slot"), [("pg2", "pg2"), ("PG-2.example.org", "pg_2_example_org"), ("é", "_")])
def test_slot_name(host: str, slot: str) -> None:
    assert slot_name(host) == slot


class TestCandidate:
    def test_the_later_timeline_wins_over_the_further_position(self) -> None:
        seen = {"pg2": standby(timeline=1, lsn=900), "pg3": standby(timeline=2, lsn=100)}
        assert choose_candidate(seen) == "pg3"

    def test_what_was_received_counts_not_what_was_replayed(self) -> None:
        seen = {
            "pg2": standby(lsn=900, replayed_lsn=Lsn(800)),
            "pg3": standby(lsn=899, replayed_lsn=Lsn(899)),
        }
        assert choose_candidate(seen) == "pg2"


def with_state(seen: Seen, state: State) -> list[str]:
    return [name for name, found in seen.items() if found is not None and found.state is state]


class TestRules:
    """The rules of the design, against everything that can be observed."""

    @given(clusters)
    def test_every_member_gets_one_action_and_a_reason(self, seen: Seen) -> None:
        decided = plan(seen, THREE)

        assert [member.name for member in decided.members] == list(ADDRESSES)
        assert all(member.reason for member in decided.members)
        assert all(member.action is Action.HOLD for member in decided.members if seen[member.name] is None)

    @given(clusters)
    def test_never_two_primaries_in_a_plan(self, seen: Seen) -> None:
        decided = plan(seen, THREE)

        made = [member.name for member in decided.members if member.action in MAKES_A_PRIMARY]
        assert len(made) <= 1
        assert not (made and with_state(seen, State.PRIMARY))
        assert made in ([], [decided.primary])
        assert {member.upstream for member in decided.members} <= {None, decided.primary}

    @given(clusters, live_primaries, live_primaries, st.permutations(list(ADDRESSES)))
    def test_two_observed_primaries_refuse_everything_and_name_the_one_ahead(
        self, seen: Seen, one: Observation, other: Observation, where: list[str]
    ) -> None:
        seen = {**seen, where[0]: one, where[1]: other}
        primaries = with_state(seen, State.PRIMARY)
        decided = plan(seen, THREE)

        assert {member.action for member in decided.members} <= {Action.REFUSE, Action.HOLD}
        assert all(member.action is Action.REFUSE for member in decided.members if seen[member.name])
        histories = {n: found.history for n in primaries if (found := seen[n]) is not None}
        if len({found.system_identifier for n in primaries if (found := seen[n]) is not None}) > 1:
            histories = {}
            assert "different clusters" in decided.problems[0]
        for name, history in histories.items():
            ahead = all(history > other for n, other in histories.items() if n != name)
            assert (f"{name} is ahead" in decided.problems[0]) is ahead

    @given(clusters)
    def test_never_bootstrap_where_data_is_or_might_be(self, seen: Seen) -> None:
        bootstraps = [m for m in plan(seen, THREE).members if m.action is Action.BOOTSTRAP]

        assert bool(bootstraps) is all(found == ABSENT for found in seen.values())

    @given(clusters)
    def test_never_clone_over_data(self, seen: Seen) -> None:
        for member in plan(seen, THREE).members:
            if member.action is Action.CLONE:
                assert seen[member.name] in (ABSENT, HALF_CLONED)

    @given(clusters)
    def test_never_discard_history_that_no_other_member_holds(self, seen: Seen) -> None:
        decided = plan(seen, THREE)
        for member in decided.members:
            if member.action is not Action.FOLLOW:
                continue
            mine, source = seen[member.name], seen[member.upstream or ""]
            assert mine is not None
            assert source is not None
            assert mine.is_standby
            assert mine.system_identifier == source.system_identifier
            assert mine.timeline <= source.timeline
            if mine.timeline < source.timeline:
                assert mine.position <= mine.timeline * 100
            elif source.state is State.PRIMARY and source.lsn_exact and not mine.streaming:
                assert mine.position <= source.position

    @given(clusters, live_primaries, st.sampled_from(list(ADDRESSES)))
    def test_a_live_primary_is_followed_whatever_was_declared(self, seen: Seen, live: Observation, where: str) -> None:
        seen = {**seen, where: live}
        primaries = with_state(seen, State.PRIMARY)
        assume(len(primaries) == 1)
        decided = plan(seen, THREE)

        assert decided.primary == primaries[0]
        assert decided.primary_observed
        assert bool(decided.notes and "the inventory says" in decided.notes[0]) is (primaries[0] != "pg1")

    @given(clusters)
    def test_a_stopped_primary_starts_only_if_nobody_can_have_taken_over(self, seen: Seen) -> None:
        for member in plan(seen, THREE).members:
            if member.action is not Action.START:
                continue
            mine = seen[member.name]
            others = {name: found for name, found in seen.items() if name != member.name}
            assert mine is not None
            assert mine.is_stopped_primary
            assert not mine.has_fence_marker
            assert not with_state(seen, State.PRIMARY)
            assert all(o is None or o.timeline <= mine.timeline for o in others.values())
            vouched = any(
                o is not None
                and o.is_standby
                and o.timeline == mine.timeline
                and o.upstream is not None
                and o.upstream.host == member.name
                for o in others.values()
            )
            assert vouched or None not in others.values()

    @given(clusters, st.one_of(st.none(), st.sets(st.sampled_from(list(ADDRESSES)), min_size=1)))
    def test_rejoin_makes_no_primary_and_takes_nothing_from_the_one_there_is(
        self, seen: Seen, hosts: set[str] | None
    ) -> None:
        decided = plan(seen, THREE, Intent.REJOIN, hosts)

        assert not {member.action for member in decided.members} & MAKES_A_PRIMARY
        changed = [m for m in decided.members if m.action in (Action.REJOIN, Action.CLONE, Action.FOLLOW)]
        if not changed:
            return
        live = seen[decided.primary or ""]
        assert live is not None
        assert live.state is State.PRIMARY
        assert live.accepts_connections
        for member in changed:
            mine = seen[member.name]
            assert mine is not None
            assert member.upstream == decided.primary != member.name
            assert hosts is None or member.name in hosts
            assert mine.timeline <= live.timeline
            assert not mine.has_data or mine.system_identifier == live.system_identifier

    @given(clusters, st.one_of(st.none(), st.sets(st.sampled_from(list(ADDRESSES)), min_size=1)))
    def test_history_is_given_up_only_by_who_was_passed_over_or_named(self, seen: Seen, hosts: set[str] | None) -> None:
        decided = plan(seen, THREE, Intent.REJOIN, hosts)

        for member in decided.members:
            mine, live = seen[member.name], seen[decided.primary or "pg1"]
            if member.action is not Action.REJOIN:
                continue
            assert mine is not None
            assert live is not None
            named = hosts is not None and member.name in hosts
            assert named or mine.state is not State.PRIMARY
            assert named or mine.timeline < live.timeline or divergence(mine, live, "") is None
            assert named or mine.timeline < live.timeline or not mine.is_stopped_primary

    @given(clusters)
    def test_a_stopped_primary_does_not_start_over_what_a_standby_holds(self, seen: Seen) -> None:
        for member in plan(seen, THREE).members:
            mine = seen[member.name]
            if member.action is not Action.START or mine is None:
                continue
            for other in seen.values():
                if other is not None and other.is_standby and other.timeline == mine.timeline:
                    assert divergence(other, mine, "") is None

    @given(clusters)
    def test_a_member_that_only_waits_to_come_back_stops_nobody(self, seen: Seen) -> None:
        live = with_state(seen, State.PRIMARY)
        assume(len(live) == 1)
        decided = plan(seen, THREE)

        for member in decided.members:
            mine, source = seen[member.name], seen[live[0]]
            if mine is None or source is None or not mine.has_data or member.name == live[0]:
                continue
            ours = mine.system_identifier == source.system_identifier and mine.timeline <= source.timeline
            assert (member.action is Action.REFUSE) is not ours

    @given(clusters)
    def test_a_plan_that_stops_the_run_is_degraded(self, seen: Seen) -> None:
        decided = plan(seen, THREE)

        quiet = all(member.action is Action.NONE for member in decided.members)
        assert decided.degraded or (quiet and not decided.problems)

    @given(st.dictionaries(st.text(min_size=1), st.builds(standby, timeline=timelines, lsn=positions), min_size=1))
    def test_the_candidate_holds_the_most_and_inventory_order_only_breaks_ties(
        self, standbys: dict[str, Observation]
    ) -> None:
        best = standbys[choose_candidate(standbys)].history

        assert all(seen.history <= best for seen in standbys.values())
        assert choose_candidate(standbys) == next(name for name, seen in standbys.items() if seen.history == best)

    @given(
        st.tuples(positions, positions, positions, positions),
        st.sets(st.sampled_from(["s1", "s2", "s3", "s4"])),
        st.integers(0, 4),
    )
    def test_nothing_lost_is_proven_or_not_claimed(self, held: tuple[int, ...], dead: set[str], k: int) -> None:
        positions_held = {f"s{index}": lsn for index, lsn in enumerate(held, start=1)}
        seen: Seen = {name: None if name in dead else standby(lsn=lsn) for name, lsn in positions_held.items()}

        # ANY k: what k standbys hold was acknowledged, whichever k they are. Without
        # synchronous replication the lost primary may have acknowledged anything.
        acknowledged = max((min(group) for group in combinations(held, k)), default=0) if k else max(held) + 1
        alive = [lsn for name, lsn in positions_held.items() if name not in dead]
        proven = loss_ruled_out(list(positions_held), k, seen)
        if proven:
            assert max(alive) >= acknowledged
        assert proven is (k > 0 and len(dead) < max(k, 1) and bool(alive))

    def test_a_stopped_standby_proves_nothing(self) -> None:
        assert loss_ruled_out(["pg2", "pg3"], 1, {"pg2": standby(), "pg3": standby(me="pg3")})
        assert not loss_ruled_out(["pg2", "pg3"], 1, {"pg2": standby(), "pg3": stopped_standby(me="pg3")})

    def test_one_that_still_replays_what_it_had_proves_nothing(self) -> None:
        assert not loss_ruled_out(["pg2"], 1, {"pg2": standby(lsn_exact=False)})

    def test_nobody_asked_rules_nothing_out(self) -> None:
        assert not loss_ruled_out([], 1, {"pg1": None})
