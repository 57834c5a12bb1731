# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_handover import (
    Consent,
    FailoverPlan,
    FenceBy,
    Move,
    Outcome,
    failover,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_handover_failover import synchronous_standbys
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import (
    Declared,
    Observation,
    ReplicationClient,
    Role,
    State,
    Synchronous,
    Upstream,
    slot_name,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pg_members import (
    ABSENT,
    ADDRESSES,
    HALF_CLONED,
    THREE,
    Seen,
    clusters,
    lost_clusters,
    members,
    positions,
    primary,
    standby,
    stopped_primary,
    stopped_standby,
    waits_for,
)

TWO = Declared(members("pg1", "pg2"))
OFF = replace(THREE, synchronous=Synchronous.OFF)
WORD = Consent(fenced="pg1")
LOSS = Consent(loss_of="pg1")
BOTH = Consent("pg1", "pg1")

DEAD = None
PG2, PG3 = standby(), standby(me="pg3")
CRASHED = stopped_primary(clean_shutdown=False)
FROZEN = primary(accepts_connections=False, lsn_exact=False)


def decide(*observed: Observation | None, declared: Declared = THREE, **asked: Any) -> FailoverPlan:
    return failover(dict(zip(declared.names, observed, strict=True)), declared, **asked)


def moves(decided: FailoverPlan) -> str:
    return " ".join(member.action.value for member in decided.members)


def refused(decided: FailoverPlan) -> str:
    assert decided.outcome is Outcome.REFUSE
    return "\n".join(decided.refusals)


# What is seen on pg1, pg2 and pg3, what the operator said, and who replaces whom.
WHO: list[Any] = [
    pytest.param([CRASHED, PG2, PG3], None, "pg1", "pg2", "fence promote follow", id="killed, its host answers"),
    pytest.param([FROZEN, PG2, PG3], None, "pg1", "pg2", "fence promote follow", id="frozen, its host answers"),
    pytest.param([DEAD, PG2, PG3], WORD, "pg1", "pg2", "hold promote follow", id="powered off"),
    pytest.param([ABSENT, PG2, PG3], None, "pg1", "pg2", "hold promote follow", id="its data is gone"),
    pytest.param([HALF_CLONED, PG2, PG3], None, "pg1", "pg2", "hold promote follow", id="half a clone"),
    pytest.param(
        [stopped_primary(fenced=True, fenced_reason="failover from pg1 to pg2", clean_shutdown=False), PG2, PG3],
        None,
        "pg1",
        "pg2",
        "fence promote follow",
        id="interrupted after the fencing",
    ),
    pytest.param(
        [CRASHED, PG2, standby("pg2", "pg3")], None, "pg1", "pg2", "fence promote none", id="one follows it already"
    ),
    pytest.param(
        [CRASHED, standby("pg3"), standby(me="pg3")], None, "pg1", "pg2", "fence promote follow", id="a cascade"
    ),
    pytest.param([CRASHED, standby(lsn=900), PG3], None, "pg1", "pg3", "fence follow promote", id="the one ahead"),
    pytest.param(
        [CRASHED, standby(timeline=1, lsn=90), standby(me="pg3", timeline=2, lsn=120)],
        None,
        "pg1",
        "pg3",
        "fence follow promote",
        id="the later timeline",
    ),
    pytest.param(
        [CRASHED, standby(timeline=1, lsn=300), standby(me="pg3", timeline=2, lsn=120)],
        None,
        "pg1",
        "pg3",
        "fence hold promote",
        id="the later timeline, the other past the fork",
    ),
    pytest.param([DEAD, PG2, stopped_standby(me="pg3")], BOTH, "pg1", "pg2", "hold promote hold", id="one is stopped"),
    pytest.param([DEAD, PG2, DEAD], BOTH, "pg1", "pg2", "hold promote hold", id="one can't be asked"),
    pytest.param([DEAD, PG2, ABSENT], BOTH, "pg1", "pg2", "hold promote hold", id="one is empty"),
    pytest.param(
        [CRASHED, PG2, standby(me="pg3", replay_paused=True)], None, "pg1", "pg2", "fence promote hold", id="one paused"
    ),
    pytest.param(
        [CRASHED, PG2, standby(me="pg3", system_identifier="8")],
        LOSS,
        "pg1",
        "pg2",
        "fence promote hold",
        id="one of another cluster",
    ),
    pytest.param(
        [stopped_primary(1, 90, fenced=True), DEAD, standby("pg2", "pg3", 2)],
        Consent("pg2", "pg2"),
        "pg2",
        "pg3",
        "fence hold promote",
        id="the second failover",
    ),
    pytest.param(
        [stopped_primary(1, 90), stopped_primary(2, 190, clean_shutdown=False), standby("pg2", "pg3", 2)],
        Consent(loss_of="pg2"),
        "pg2",
        "pg3",
        "fence fence promote",
        id="two stopped primaries",
    ),
    pytest.param(
        [
            stopped_primary(1, 90, fenced=True, fenced_reason="failover from pg1 to pg2"),
            DEAD,
            standby(me="pg3", lsn=90),
        ],
        Consent("pg2", "pg2"),
        "pg2",
        "pg3",
        "fence hold promote",
        id="the fence marker tells who was promoted since",
    ),
    pytest.param(
        [stopped_standby("pg2", "pg1"), PG2, standby("pg2", "pg3")],
        None,
        "pg1",
        "pg2",
        "hold promote none",
        id="a switchover whose old primary has stopped to hand over",
    ),
    pytest.param(
        [standby("pg2", "pg1"), PG2, standby("pg2", "pg3")],
        None,
        None,
        "pg1",
        "promote none follow",
        id="a switchover that left standbys alone",
    ),
    pytest.param(
        [FROZEN, DEAD, standby("pg2", "pg3")],
        Consent("pg2", "pg2"),
        "pg2",
        "pg3",
        "fence hold promote",
        id="one is frozen, and the standby follows another",
    ),
    pytest.param([DEAD, standby(upstream=None), PG3], WORD, "pg1", "pg2", "hold promote follow", id="no upstream set"),
    pytest.param(
        [DEAD, standby(upstream=Upstream("gone", "10.0.0.9", 5432, "pg2")), standby(me="pg3", upstream=None)],
        WORD,
        "pg1",
        "pg2",
        "hold promote follow",
        id="they follow a stranger, so the inventory tells",
    ),
]


@pytest.mark.parametrize(("observed", "consent", "old", "candidate", "expected"), WHO)
def test_who_replaces_whom(
    observed: list[Observation | None], consent: Consent | None, old: str | None, candidate: str, expected: str
) -> None:
    decided = decide(*observed, consent=consent)

    assert decided.refusals == ()
    assert (decided.outcome, decided.old_primary, decided.candidate) == (Outcome.ACT, old, candidate)
    assert moves(decided) == expected


def test_what_the_playbook_acts_on() -> None:
    decided = decide(CRASHED, standby(lsn=900), PG3)

    assert decided.fence_hosts == ("pg1",)
    assert decided.followers == ("pg2",)
    assert decided.candidate_version == 17
    assert decided.timeline == 2
    assert decided.fence_reason == "failover from pg1 to pg3"
    plain = decided.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert (plain["outcome"], plain["followers"], plain["fence_hosts"]) == ("act", ["pg2"], ["pg1"])
    assert plain["members"]["pg3"] == {
        "action": "promote",
        "reason": "the standby that holds the most",
        "upstream": None,
    }
    assert plain["members"]["pg2"]["upstream"] == "pg3"
    assert plain["loss"] == {"proven": True, "upper_bound": 0, "reason": decided.loss.reason}
    assert plain["fence"]["by"] == "host"


def test_what_is_refused_is_not_acted_on() -> None:
    decided = decide(DEAD, PG2, PG3)

    assert decided.outcome is Outcome.REFUSE
    assert (decided.followers, decided.fence_hosts) == ((), ())
    assert decided.candidate == "pg2", "the table shows what would be done"


def test_a_failover_to_the_declared_primary_can_be_said_twice() -> None:
    found = dict(
        zip(
            ("pg1", "pg2", "pg3"),
            (
                primary(2),
                stopped_primary(1, fenced=True, fenced_reason="failover from pg2 to pg1"),
                standby(timeline=2),
            ),
            strict=True,
        )
    )
    decided = failover(found, THREE, Consent(), frozenset())
    assert (decided.outcome, decided.refusals) == (Outcome.NOTHING, ())


# Every refusal, with the command or the option that it must name.
REFUSALS: list[Any] = [
    pytest.param([DEAD] * 3, None, "no member can be asked", "this controller reaches", id="nobody"),
    pytest.param([primary(1), primary(2), PG3], None, "pg2 is ahead", "rejoin.yml -e rejoin_hosts=pg1", id="two"),
    pytest.param([primary(), PG2, PG3], None, "pg1 is a healthy primary and serves", "switchover.yml", id="healthy"),
    pytest.param(
        [primary(), PG2, standby(me="pg3", streaming=False)], None, "healthy primary", "site.yml", id="one disconnected"
    ),
    pytest.param(
        [primary(), PG2, standby("pg2", "pg3")], None, "healthy primary", "switchover.yml", id="a switchover begins"
    ),
    pytest.param([primary(), PG2, PG3], BOTH, "failover_fenced names pg1, but pg1 answers", "", id="a false word"),
    pytest.param(
        [primary(1), stopped_primary(2), PG3],
        None,
        "pg1 may be an old primary",
        "stop PostgreSQL on pg1",
        id="later one",
    ),
    pytest.param([DEAD, PG2, PG3], None, "pg1 can't be asked", "-e failover_fenced=pg1", id="not fenced"),
    pytest.param([DEAD, PG2, PG3], None, "or your word", "only after you made sure", id="what the word means"),
    pytest.param(
        [DEAD, PG2, PG3], None, "pg1 can't be asked", "a pg_fence_command for it", id="the other way to fence"
    ),
    pytest.param([DEAD, PG2, DEAD], WORD, "pg3 can't be asked", "-e failover_accept_loss_of=pg1", id="loss"),
    pytest.param([DEAD, PG2, DEAD], WORD, "one of pg2, pg3 has it", "(an unknown amount)", id="loss unknown"),
    pytest.param(
        [DEAD, PG2, stopped_standby(me="pg3", lsn=10)],
        WORD,
        "pg3 is stopped and may hold more",
        "loss_of=pg1",
        id="stopped",
    ),
    pytest.param(
        [DEAD, PG2, standby(me="pg3", lsn_exact=False)],
        WORD,
        "pg3 still replays what it received",
        "loss_of=pg1",
        id="replays",
    ),
    pytest.param(
        [DEAD, PG2, standby(me="pg3", lsn=10, accepts_connections=False)],
        WORD,
        "pg3 doesn't answer and may hold more",
        "loss_of=pg1",
        id="silent",
    ),
    pytest.param(
        [DEAD, PG2, stopped_standby(me="pg3", lsn=1001)],
        BOTH,
        "pg3 shows timeline 1 at 0/3E9, ahead of the candidate pg2 (timeline 1 at 0/3E8)",
        "systemctl start postgresql@17-main",
        id="a stopped standby ahead",
    ),
    pytest.param(
        [DEAD, PG2, standby(me="pg3", lsn=1001, replay_paused=True)],
        BOTH,
        "ahead of the candidate pg2",
        "SELECT pg_wal_replay_resume()",
        id="a paused standby ahead",
    ),
    pytest.param(
        [DEAD, PG2, standby(me="pg3", lsn=1001, accepts_connections=False)],
        BOTH,
        "ahead of the candidate pg2",
        "journalctl -u postgresql@17-main",
        id="a silent standby ahead",
    ),
    pytest.param(
        [DEAD, PG2, standby(me="pg3", lsn=1001, fenced=True)],
        BOTH,
        "ahead of the candidate pg2",
        "remove the file that ends in .fenced",
        id="a fenced standby ahead",
    ),
    pytest.param(
        [DEAD, PG2, stopped_standby(me="pg3", timeline=2)],
        BOTH,
        "timeline 2",
        "take pg3 out of the inventory",
        id="later TL",
    ),
    pytest.param(
        [DEAD, PG2, stopped_primary(2)],
        BOTH,
        "pg3 shows timeline 2",
        "echo by hand > /run/postgresql/17-main.start; systemctl start postgresql@17-main",
        id="a stopped primary on a later timeline",
    ),
    pytest.param(
        [stopped_primary(2), PG2, PG3],
        BOTH,
        "pg1 shows timeline 2",
        "start it",
        id="the old primary on a later timeline",
    ),
    pytest.param(
        [CRASHED, stopped_standby(), standby(me="pg3", accepts_connections=False)],
        BOTH,
        "no standby can be promoted",
        "pg2 is stopped: 'systemctl start postgresql@17-main' there; pg3 runs but doesn't answer",
        id="none qualifies",
    ),
    pytest.param(
        [DEAD, standby(replay_paused=True), standby(me="pg3", fenced=True, fenced_reason="why")],
        BOTH,
        "pg2 has its replay paused: SELECT pg_wal_replay_resume()",
        "pg3 is fenced (why)",
        id="none qualifies either",
    ),
    pytest.param(
        [CRASHED, standby(system_identifier="8"), standby(me="pg3", version=15)],
        LOSS,
        "pg2 belongs to another cluster (system identifier 8)",
        "pg3 has PostgreSQL version 15, the others 17",
        id="strangers",
    ),
    pytest.param([CRASHED, ABSENT, DEAD], LOSS, "pg2 holds no database", "pg3 can't be asked", id="nobody is left"),
    pytest.param([DEAD, ABSENT, ABSENT], BOTH, "no member that answers holds a database", "bring", id="no data"),
    pytest.param(
        [DEAD, PG2, standby(me="pg3", system_identifier="8")],
        BOTH,
        "differ in system identifier (pg2: 7, pg3: 8)",
        "Move away",
        id="two clusters",
    ),
    pytest.param(
        [DEAD, PG2, PG3], Consent("pg2"), "failover_fenced names pg2", "-e failover_fenced=pg1", id="wrong word"
    ),
    pytest.param(
        [DEAD, PG2, DEAD],
        Consent("pg1", "pg3"),
        "failover_accept_loss_of names pg3",
        "expected -e failover_accept_loss_of=pg1",
        id="wrong loss",
    ),
    pytest.param(
        [standby("pg2", "pg1"), PG2, standby("pg2", "pg3")],
        WORD,
        "names pg1, but each is a standby",
        "",
        id="no old one",
    ),
    pytest.param(
        [standby("pg2", "pg1", lsn_exact=False), PG2, standby("pg2", "pg3")],
        None,
        "pg1 still replays",
        "run failover.yml again",
        id="standbys alone, one not exact",
    ),
    pytest.param(
        [stopped_standby("pg2", "pg1"), standby("pg3"), standby(me="pg3", lsn_exact=False)],
        None,
        "pg3 still replays",
        "-e failover_accept_loss_of=pg1",
        id="a stopped standby took the place of the primary",
    ),
]


@pytest.mark.parametrize(("observed", "consent", "words", "remedy"), REFUSALS)
def test_what_is_refused_and_what_would_help(
    observed: list[Observation | None], consent: Consent | None, words: str, remedy: str
) -> None:
    said = refused(decide(*observed, consent=consent))

    assert words in said
    assert remedy in said


def test_a_refusal_says_why_a_host_does_not_answer() -> None:
    assert "pg1 can't be asked (timed out)" in refused(decide(DEAD, PG2, PG3, errors={"pg1": "timed out"}))
    assert "pg1: timed out; pg2: no answer" in refused(decide(DEAD, DEAD, DEAD, errors={"pg1": "timed out"}))


def test_what_holds_what_the_candidate_lacks_is_dealt_with_before_any_loss_is_accepted() -> None:
    said = refused(decide(DEAD, PG2, stopped_standby(me="pg3", lsn=1001), consent=WORD))

    assert "failover_accept_loss_of" not in said


class TestFence:
    def test_the_host_is_best(self) -> None:
        decided = decide(CRASHED, PG2, PG3, consent=WORD, fence_commands={"pg1"})

        assert decided.fence.by is FenceBy.HOST
        assert "pg1 answers: PostgreSQL is stopped there" in decided.fence.reason
        assert "will be stopped there" in decide(FROZEN, PG2, PG3).fence.reason
        assert decided.outcome is Outcome.ACT

    def test_a_word_wins_over_a_command_that_may_have_failed(self) -> None:
        assert decide(DEAD, PG2, PG3, consent=WORD, fence_commands={"pg1"}).fence.by is FenceBy.WORD

    def test_a_command(self) -> None:
        decided = decide(DEAD, PG2, PG3, fence_commands={"pg1"})

        assert (decided.outcome, decided.fence.by) == (Outcome.ACT, FenceBy.COMMAND)

    def test_a_command_for_another_host(self) -> None:
        assert decide(DEAD, PG2, PG3, fence_commands={"pg2", "pg3"}).fence.by is FenceBy.NONE

    def test_nothing_runs_where_there_is_no_data(self) -> None:
        decided = decide(ABSENT, PG2, PG3)

        assert (decided.fence.by, decided.fence_hosts) == (FenceBy.HOST, ())
        assert "holds no database" in decided.fence.reason

    def test_an_old_primary_that_became_a_standby_already(self) -> None:
        decided = decide(stopped_standby("pg2", "pg1"), PG2, standby("pg2", "pg3"))

        assert (decided.fence.by, decided.fence_hosts) == (FenceBy.HOST, ())
        assert "is a standby, which accepts no writes" in decided.fence.reason

    def test_another_stopped_primary_is_fenced_too_but_not_one_of_another_cluster(self) -> None:
        observed = [stopped_primary(1, 90), CRASHED, standby("pg2", "pg3", system_identifier="7")]
        assert decide(*observed, consent=Consent(loss_of="pg2")).fence_hosts == ("pg1", "pg2")

        observed[0] = stopped_primary(system_identifier="8")
        assert decide(*observed, consent=Consent(loss_of="pg2")).fence_hosts == ("pg2",)


class TestLoss:
    """Nothing lost is proven or not claimed; the upper bound is there only where the end is known."""

    def loss(self, *observed: Observation | None, declared: Declared = THREE) -> tuple[bool, int | None]:
        decided = decide(*observed, declared=declared, consent=BOTH)
        return decided.loss.proven, decided.loss.upper_bound

    def test_all_who_may_have_acknowledged_were_asked(self) -> None:
        assert self.loss(DEAD, PG2, PG3) == (True, 0)
        assert self.loss(CRASHED, PG2, PG3) == (True, 0)
        assert "one of pg2, pg3 has it" in decide(CRASHED, PG2, PG3).loss.reason

    def test_one_of_them_was_not(self) -> None:
        assert self.loss(DEAD, PG2, DEAD) == (False, None)
        assert self.loss(CRASHED, PG2, DEAD) == (False, None)

    def test_two_members(self) -> None:
        assert self.loss(DEAD, standby(synchronous_standby_names=waits_for("pg1")), declared=TWO) == (True, 0)

    def test_the_old_primary_stopped_in_order(self) -> None:
        clean = stopped_primary(lsn=1000)
        # The record begins at 1000: whoever has a byte of it has all that was before.
        assert self.loss(clean, standby(lsn=1001), DEAD) == (True, 0)
        assert self.loss(clean, standby(lsn=1000), DEAD) == (False, 0)
        assert self.loss(clean, standby(lsn=900), DEAD) == (False, 100)
        assert self.loss(clean, standby(lsn=1001), DEAD, declared=OFF) == (True, 0)
        assert self.loss(clean, standby(lsn=900), PG3, declared=OFF) == (False, 0)
        assert "at most 100 bytes of WAL" in refused(decide(clean, standby(lsn=900), DEAD))

    def test_it_crashed_so_its_end_is_not_known(self) -> None:
        assert self.loss(stopped_primary(lsn=1000, clean_shutdown=False), standby(lsn=1001), DEAD) == (False, None)

    def test_it_stopped_in_order_before_somebody_else_was_the_primary(self) -> None:
        # The candidate is on a timeline that somebody began who can't be told from what is seen.
        later = standby("pg1", "pg2", 2, 150)
        assert self.loss(stopped_primary(1, 99), later, DEAD) == (False, None)

    def test_asynchronous_by_choice(self) -> None:
        assert self.loss(DEAD, PG2, PG3, declared=OFF) == (False, None)
        assert "pg_synchronous is off" in refused(decide(CRASHED, PG2, PG3, declared=OFF))

    def test_asynchronous_although_the_inventory_says_otherwise(self) -> None:
        bare = standby(me="pg3", synchronous_standby_names="")
        assert self.loss(DEAD, PG2, bare) == (False, None)
        said = refused(decide(CRASHED, PG2, bare))
        assert "the inventory says any_1, but synchronous_standby_names is empty on pg3" in said

    def test_anybody_may_have_acknowledged(self) -> None:
        said = refused(decide(CRASHED, PG2, standby(me="pg3", synchronous_standby_names="ANY 1 (*)")))
        assert "synchronous_standby_names is 'ANY 1 (*)' on pg3" in said

    def test_somebody_who_is_no_longer_in_the_inventory_may_have(self) -> None:
        named = waits_for("pg1", "pg3", "pg4")
        said = refused(decide(CRASHED, standby(synchronous_standby_names=named), PG3))
        assert "one of pg2, pg3, pg4 has it on disk, and pg4 is not in the inventory" in said

    def test_two_had_to_acknowledge_of_which_one_was_asked(self) -> None:
        one, other = standby(synchronous_standby_names='ANY 2 ("pg1","PG3")'), DEAD
        # The inventory promises one only, so no more is relied on.
        assert self.loss(DEAD, one, other) == (False, None)

    def test_every_member_is_a_standby(self) -> None:
        three = [standby("pg2", "pg1"), PG2, standby("pg2", "pg3")]
        assert self.loss(*three, declared=OFF) == (True, 0)
        assert "every member was asked" in decide(*three, declared=OFF).loss.reason


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ('ANY 1 ("pg2","pg3")', (1, ("pg2", "pg3"))),
        ("any 2 (a, b, c)", (2, ("a", "b", "c"))),
        ("FIRST 1 (a)", (1, ("a",))),
        ("2 (a,b)", (2, ("a", "b"))),
        ("pg2, pg3", (1, ("pg2", "pg3"))),
        ('"a ""b"", c"', (1, ('a "b", c',))),
        ("", None),
        ("*", None),
        ('ANY 1 (a, "*")', None),
        ("ANY 0 (a)", None),
    ],
)
def test_who_is_waited_for(setting: str, expected: tuple[int, tuple[str, ...]] | None) -> None:
    assert synchronous_standbys(setting) == expected


class TestReason:
    """Why the candidate is the candidate, in words."""

    def reason(self, *observed: Observation | None) -> str:
        return decide(*observed, consent=BOTH).candidate_reason

    def test_the_most(self) -> None:
        assert self.reason(CRASHED, PG2, standby(me="pg3", lsn=880)) == (
            "it holds the most: timeline 1 at 0/3E8, 120 bytes ahead of pg3"
        )

    def test_megabytes(self) -> None:
        assert "20.0 MiB ahead of pg3" in self.reason(CRASHED, standby(lsn=20 * 1024**2 + 1), standby(me="pg3", lsn=1))

    def test_the_inventory(self) -> None:
        assert self.reason(CRASHED, PG2, PG3) == ("as far as pg3 (timeline 1 at 0/3E8), and before it in the inventory")

    def test_the_timeline(self) -> None:
        assert "timeline 2 at 0/78, pg2 is on timeline 1 still" in self.reason(
            CRASHED, PG2, standby(me="pg3", timeline=2, lsn=120)
        )

    def test_nobody_else(self) -> None:
        assert self.reason(DEAD, PG2, DEAD) == "the only standby that can be promoted: timeline 1 at 0/3E8"


# A live primary beside which something of a failover may be left to do.
NEW = primary(2, replication=(ReplicationClient("pg3", sync_state="quorum"),))
FOLLOWS = standby("pg2", "pg3", 2)
DONE: list[Any] = [
    pytest.param([DEAD, NEW, FOLLOWS], "nothing", "hold none none", id="all is done"),
    pytest.param([stopped_primary(1, 90, fenced=True), NEW, FOLLOWS], "nothing", "hold none none", id="old one fenced"),
    pytest.param([standby("pg2", "pg1", 2), NEW, FOLLOWS], "nothing", "none none none", id="old one came back"),
    pytest.param([stopped_primary(1, 90), NEW, FOLLOWS], "finish", "fence none none", id="old one not fenced"),
    pytest.param(
        [stopped_primary(1, 90, fenced=True, held=True), NEW, FOLLOWS],
        "finish",
        "fence none none",
        id="the guard held it",
    ),
    pytest.param(
        [DEAD, NEW, standby("pg1", "pg3", 1, 100, streaming=False)],
        "finish",
        "hold none follow",
        id="one follows the old",
    ),
    pytest.param(
        [DEAD, NEW, standby("pg1", "pg3", 1, 101, streaming=False)], "nothing", "hold none hold", id="one diverged"
    ),
    pytest.param(
        [DEAD, NEW, standby("pg2", "pg3", 1, 100, streaming=False)],
        "finish",
        "hold none follow",
        id="not streaming yet",
    ),
    pytest.param([DEAD, NEW, stopped_standby("pg1", "pg3", 1, 90)], "nothing", "hold none hold", id="one is stopped"),
    pytest.param([DEAD, NEW, ABSENT], "nothing", "hold none hold", id="one is empty"),
    pytest.param(
        [stopped_primary(1, 90), NEW, standby("pg1", "pg3", 1, 90, streaming=False)],
        "finish",
        "fence none follow",
        id="interrupted right after the promotion",
    ),
]


@pytest.mark.parametrize(("observed", "outcome", "expected"), DONE)
def test_a_failover_that_was_interrupted_is_finished(
    observed: list[Observation | None], outcome: str, expected: str
) -> None:
    for consent in (None, BOTH):
        # The second run is given what the first was given.
        decided = decide(*observed, consent=consent)
        assert (decided.outcome.value, moves(decided)) == (outcome, expected)
        assert decided.refusals == ()
        assert (decided.old_primary, decided.candidate, decided.timeline) == (
            None if observed[0] is not None and observed[0].is_standby else "pg1",
            "pg2",
            2,
        )


def test_a_failover_back_to_the_declared_primary_is_finished_too() -> None:
    decided = decide(
        primary(3), stopped_primary(2, 190), standby("pg2", "pg3", 2, 190, streaming=False), consent=Consent("pg2")
    )

    assert (decided.outcome, moves(decided), decided.old_primary) == (Outcome.FINISH, "none fence follow", "pg2")


class TestTable:
    def test_a_row_for_each_member(self) -> None:
        decided = decide(
            CRASHED, standby(lsn_exact=False), standby(me="pg3", replay_paused=True), errors={"pg1": "timed out"}
        )
        pg1, pg2, pg3 = decided.rows

        assert (pg1.reachable, pg1.role, pg1.timeline, pg1.received, pg1.replayed) == (
            True,
            "stopped primary",
            1,
            ">=0/3E8",
            None,
        )
        assert pg1.note == "old primary, not stopped in order"
        assert (pg2.role, pg2.received, pg2.sync_state) == ("standby", ">=0/3E8", "any_1")
        assert pg2.note == "candidate, follows pg1"
        assert (pg3.received, pg3.replayed, pg3.note) == ("0/3E8", "0/3E8", "replay paused, follows pg1")

    def test_who_can_not_be_asked(self) -> None:
        row = decide(DEAD, PG2, PG3, errors={"pg1": "timed out"}).rows[0]

        assert (row.reachable, row.role, row.timeline, row.received) == (False, "unknown", None, None)
        assert row.note == "old primary, timed out"

    def test_the_sync_state_is_the_primarys_where_there_is_one(self) -> None:
        assert [row.sync_state for row in decide(DEAD, NEW, FOLLOWS).rows] == [None, None, "quorum"]
        assert [row.sync_state for row in decide(DEAD, primary(2), FOLLOWS).rows] == [None, None, None]


class TestAfterwards:
    def test_which_lines_of_the_inventory_to_edit(self) -> None:
        steps = decide(CRASHED, PG2, PG3).next_steps

        assert steps[0].startswith("pg2 is the primary, the inventory says pg1.")
        assert steps[1:7] == (
            "    pg_primary:",
            "      hosts:",
            "        pg2:",
            "    pg_replica:",
            "      hosts:",
            "        pg1:",
        )
        assert "switchover.yml -e switchover_to=pg1" in steps[8]
        assert steps[-1] == "To bring back pg1: rejoin.yml"

    def test_nothing_to_edit_where_the_inventory_is_right(self) -> None:
        steps = decide(primary(3), stopped_primary(2, 190), standby("pg1", "pg3", 3)).next_steps

        assert steps == ("To bring back pg2: rejoin.yml",)

    def test_a_primary_that_nobody_can_follow_at_once_acknowledges_nothing(self) -> None:
        alone = decide(CRASHED, standby(synchronous_standby_names=waits_for("pg1")), declared=TWO)

        assert "no other standby can follow pg2 at once" in alone.notes[0]
        assert decide(CRASHED, PG2, PG3).notes == ()
        assert decide(CRASHED, PG2, declared=replace(TWO, synchronous=Synchronous.OFF), consent=LOSS).notes == ()

    def test_a_crash_is_no_failover(self) -> None:
        assert "If it is only starting after a crash, wait" in decide(FROZEN, PG2, PG3).notes[0]


orders = st.permutations(list(ADDRESSES))
names = st.sampled_from([None, "pg1", "pg1", "pg1", "pg2", "pg3"])
situations = st.one_of(clusters, lost_clusters, lost_clusters, lost_clusters)
consents = st.builds(Consent, names, names)
commands = st.sets(st.sampled_from(list(ADDRESSES)))
modes = st.sampled_from(list(Synchronous))


def in_order(order: list[str], declared_primary: str, mode: Synchronous) -> Declared:
    found = {member.name: member for member in THREE.members}
    roles = {name: Role.PRIMARY if name == declared_primary else Role.REPLICA for name in order}
    return Declared(tuple(replace(found[name], role=roles[name]) for name in order), mode)


worlds = st.builds(in_order, orders, st.sampled_from(list(ADDRESSES)), modes)


def qualifies(seen: Observation | None) -> bool:
    return (
        seen is not None
        and seen.state is State.STANDBY
        and seen.accepts_connections
        and not seen.replay_paused
        and not seen.fenced
    )


#: Most of what can be seen is refused; these are about the rest too.
many = settings(max_examples=200)


class TestRules:
    @many
    @given(situations, worlds, consents, commands)
    def test_never_beside_another_primary(
        self, seen: Seen, declared: Declared, consent: Consent, fence_commands: set[str]
    ) -> None:
        decided = failover(seen, declared, consent, fence_commands)
        running = [name for name, found in seen.items() if found is not None and found.state is State.PRIMARY]

        if len(running) > 1:
            assert decided.outcome is Outcome.REFUSE
        if decided.outcome is Outcome.ACT:
            # One that runs and doesn't answer is stopped first.
            assert set(running) <= set(decided.fence_hosts)

    @many
    @given(situations, worlds, consents, commands)
    def test_an_act_has_shown_that_it_is_safe_or_was_answered_for(
        self, seen: Seen, declared: Declared, consent: Consent, fence_commands: set[str]
    ) -> None:
        decided = failover(seen, declared, consent, fence_commands)
        if decided.outcome is not Outcome.ACT:
            assert bool(decided.refusals) is (decided.outcome is Outcome.REFUSE)
            return
        old = decided.old_primary
        assert decided.fence.by is not FenceBy.NONE
        assert decided.loss.proven or (old is not None and consent.loss_of == old)
        if decided.fence.by is FenceBy.WORD:
            assert consent.fenced == old
        if decided.fence.by is FenceBy.COMMAND:
            assert old in fence_commands
        if decided.fence.by is FenceBy.HOST and old is not None:
            there = seen[old]
            assert there is not None
            assert old in decided.fence_hosts or there.is_standby or not there.has_data

    @many
    @given(situations, worlds, consents, commands)
    def test_the_candidate_is_fit_and_nobody_who_answers_holds_more(
        self, seen: Seen, declared: Declared, consent: Consent, fence_commands: set[str]
    ) -> None:
        decided = failover(seen, declared, consent, fence_commands)
        promoted = [member.name for member in decided.members if member.action is Move.PROMOTE]
        assert promoted in ([], [decided.candidate])
        if decided.outcome is not Outcome.ACT:
            return
        best = seen[decided.candidate or ""]
        assert promoted == [decided.candidate]
        assert qualifies(best)
        assert best is not None
        for name, other in seen.items():
            if other is None or not other.has_data or other.system_identifier != best.system_identifier:
                continue
            assert other.timeline <= best.timeline
            if name != decided.old_primary:
                assert other.history <= best.history or not (other.is_standby or other.timeline > best.timeline)

    @many
    @given(st.fixed_dictionaries({"pg2": positions, "pg3": positions}), orders)
    def test_inventory_order_never_makes_up_for_history(self, held: dict[str, int], order: list[str]) -> None:
        seen = {"pg1": CRASHED, "pg2": standby(lsn=held["pg2"]), "pg3": standby(me="pg3", lsn=held["pg3"])}
        decided = failover(seen, in_order(order, "pg1", Synchronous.ANY_1))

        best = max(held.values())
        assert decided.candidate == next(name for name in order if held.get(name) == best)

    @many
    @given(situations, worlds, consents)
    def test_with_a_standby_missing_only_a_shutdown_checkpoint_rules_out_loss(
        self, seen: Seen, declared: Declared, consent: Consent
    ) -> None:
        decided = failover(seen, declared, consent)
        old = decided.old_primary
        if old is None or not decided.loss.proven:
            return
        there = seen[old]
        in_order = there is not None and there.is_stopped_primary and there.clean_shutdown
        others = [seen[name] for name in ADDRESSES if name != old]
        asked = all(other is not None and other.is_standby and other.lsn_exact for other in others)
        assert in_order or (asked and declared.synchronous is Synchronous.ANY_1)

    @many
    @given(situations, worlds, consents, commands)
    def test_who_was_not_reached_is_left_alone_and_who_follows_is_fit(
        self, seen: Seen, declared: Declared, consent: Consent, fence_commands: set[str]
    ) -> None:
        decided = failover(seen, declared, consent, fence_commands)

        assert [member.name for member in decided.members] == [row.name for row in decided.rows] == list(declared.names)
        for member in decided.members:
            found = seen[member.name]
            if found is None:
                assert member.action is Move.HOLD
            if member.action is Move.FENCE:
                assert found is not None
                assert found.is_stopped_primary or found.state is State.PRIMARY
            if member.action is Move.FOLLOW:
                assert found is not None
                assert member.upstream == decided.candidate
                assert qualifies(replace(found, fenced=False))

    @many
    @given(situations, worlds, consents, commands)
    def test_what_was_done_is_not_done_again(
        self, seen: Seen, declared: Declared, consent: Consent, fence_commands: set[str]
    ) -> None:
        """Carried out, whole or up to any point, the next run has no objection and finishes."""
        decided = failover(seen, declared, consent, fence_commands)
        if decided.outcome is not Outcome.ACT or decided.old_primary is None:
            return
        fenced = {
            name: stopped(found, decided) if name in decided.fence_hosts else found for name, found in seen.items()
        }
        again = failover(fenced, declared, consent, fence_commands)
        assert (again.outcome, again.candidate, again.old_primary) == (
            Outcome.ACT,
            decided.candidate,
            decided.old_primary,
        )
        candidate = decided.candidate or ""
        best = seen[candidate]
        assert best is not None
        half = {**fenced, candidate: promoted(best)}
        after = failover(half, declared, consent, fence_commands)
        assert after.outcome is not Outcome.ACT
        assert after.fence_hosts == ()
        if after.outcome is Outcome.REFUSE:
            # It is the declared one, and nothing shows any more that there was another.
            assert candidate == declared.primary.name
            assert after.followers == ()
            return
        assert set(after.followers) == set(decided.followers)
        done = {
            name: following(found, candidate, name) if name in after.followers and found is not None else found
            for name, found in half.items()
        }
        last = failover(done, declared, consent, fence_commands)
        assert (last.outcome, last.followers, last.fence_hosts) in (
            (Outcome.NOTHING, (), ()),
            (Outcome.REFUSE, (), ()),
        )


def stopped(seen: Observation | None, decided: FailoverPlan) -> Observation | None:
    return seen and replace(
        seen,
        state=State.STOPPED,
        accepts_connections=False,
        lsn_exact=False,
        clean_shutdown=seen.clean_shutdown if seen.state is State.STOPPED else False,
        fenced=True,
        held=False,
        fenced_reason=decided.fence_reason,
    )


def promoted(seen: Observation) -> Observation:
    return replace(
        primary(seen.timeline + 1, int(seen.position) + 200, system_identifier=seen.system_identifier),
        timeline_history=(
            *seen.timeline_history,
            replace(primary(2).timeline_history[0], timeline=seen.timeline, switch_lsn=seen.position),
        ),
    )


def following(seen: Observation, upstream: str, name: str) -> Observation:
    return replace(seen, upstream=Upstream(upstream, ADDRESSES[upstream], 5432, slot_name(name)), streaming=True)
