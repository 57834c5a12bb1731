# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_handover import (
    Move,
    Outcome,
    SwitchoverPlan,
    switchover,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_handover_switchover import MOST_LAG
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import (
    Declared,
    Observation,
    ReplicationClient,
    State,
    Synchronous,
)
from hypothesis import given
from hypothesis import strategies as st
from pg_members import (
    ABSENT,
    ADDRESSES,
    THREE,
    Seen,
    clusters,
    lost_clusters,
    members,
    primary,
    standby,
    stopped_primary,
    stopped_standby,
    waits_for,
    well_placed,
)

TWO = Declared(members("pg1", "pg2"))
DEAD = None
PG1, PG2, PG3 = primary(), standby(), standby(me="pg3")
FROZEN = primary(accepts_connections=False, lsn_exact=False)


def decide(
    *observed: Observation | None, to: str | None = None, declared: Declared = THREE, **asked: Any
) -> SwitchoverPlan:
    return switchover(dict(zip(declared.names, observed, strict=True)), declared, to, **asked)


def moves(decided: SwitchoverPlan) -> str:
    return " ".join(member.action.value for member in decided.members)


def refused(decided: SwitchoverPlan) -> str:
    assert decided.outcome is Outcome.REFUSE
    return "\n".join(decided.refusals)


def lagging(name: str, lag: int) -> Observation:
    return primary(lsn=10**9, replication=(ReplicationClient(name, lag_bytes=lag),))


HANDOVERS: list[Any] = [
    pytest.param([PG1, PG2, PG3], None, "pg2", "hand_over take_over follow", id="to the one that holds the most"),
    pytest.param([PG1, PG2, PG3], "pg3", "pg3", "hand_over follow take_over", id="to the one that was named"),
    pytest.param([PG1, standby(lsn=900), PG3], None, "pg3", "hand_over follow take_over", id="to the one ahead"),
    pytest.param(
        [standby("pg2", "pg1", 2, 900), primary(2), standby("pg2", "pg3", 2)],
        None,
        "pg1",
        "take_over hand_over follow",
        id="back to the declared one",
    ),
    pytest.param(
        [standby("pg2", "pg1", 2, replay_paused=True), primary(2), standby("pg2", "pg3", 2)],
        None,
        "pg3",
        "hold hand_over take_over",
        id="the declared one isn't fit",
    ),
    pytest.param([PG1, PG2, DEAD], None, "pg2", "hand_over take_over hold", id="the third is dead"),
    pytest.param([PG1, PG2, ABSENT], None, "pg2", "hand_over take_over hold", id="the third is empty"),
    pytest.param(
        [PG1, PG2, standby(me="pg3", streaming=False)],
        None,
        "pg2",
        "hand_over take_over hold",
        id="the third is cut off",
    ),
    pytest.param(
        [PG1, PG2, standby(me="pg3", replay_paused=True)],
        None,
        "pg2",
        "hand_over take_over hold",
        id="the third is paused",
    ),
    pytest.param(
        [PG1, PG2, stopped_standby(me="pg3")], None, "pg2", "hand_over take_over hold", id="the third is stopped"
    ),
    pytest.param(
        [PG1, PG2, standby("pg2", "pg3", lsn=1001)],
        None,
        "pg2",
        "hand_over take_over none",
        id="interrupted after the others were gathered",
    ),
    pytest.param(
        [primary(standby_signal=True), PG2, standby("pg2", "pg3")],
        "pg2",
        "pg2",
        "hand_over take_over none",
        id="interrupted right before the stop",
    ),
    pytest.param(
        [primary(2), stopped_primary(1, 150), standby("pg1", "pg3", 2)],
        "pg3",
        "pg3",
        "hand_over hold take_over",
        id="an old primary waits to come back",
    ),
]


@pytest.mark.parametrize(("observed", "to", "candidate", "expected"), HANDOVERS)
def test_a_healthy_primary_hands_over(
    observed: list[Observation | None], to: str | None, candidate: str, expected: str
) -> None:
    decided = decide(*observed, to=to)

    assert decided.refusals == ()
    assert (decided.outcome, decided.candidate, moves(decided)) == (Outcome.ACT, candidate, expected)


def test_what_the_playbook_acts_on() -> None:
    decided = decide(primary(3), standby(timeline=3), standby(me="pg3", timeline=3))

    assert (decided.from_timeline, decided.timeline, decided.promote) == (3, 4, None)
    assert decided.followers == ("pg3",)
    assert decided.candidate_version == 17
    plain = decided.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["parts"] == {
        "pg1": {"part": "hand_over", "peer": "pg2"},
        "pg2": {"part": "take_over", "peer": "pg1"},
    }
    assert (plain["followers"], plain["rejoiners"]) == (["pg3"], [])
    assert plain["members"]["pg3"]["upstream"] == "pg2"


REFUSALS: list[Any] = [
    pytest.param([DEAD, PG2, PG3], None, "no member is a primary", "Run failover.yml", id="the primary is dead"),
    pytest.param([FROZEN, PG2, PG3], None, "pg1 runs as the primary but doesn't answer", "failover.yml", id="frozen"),
    pytest.param([primary(1), primary(2), PG3], None, "2 primaries", "rejoin.yml -e rejoin_hosts=pg1", id="two"),
    pytest.param(
        [PG1, stopped_primary(2), PG3], "pg3", "pg1 may be an old primary", "stop PostgreSQL on pg1", id="a later one"
    ),
    pytest.param([PG1, PG2, PG3], "pg9", "switchover_to names pg9", "(pg1, pg2, pg3)", id="unknown"),
    pytest.param(
        [PG1, DEAD, PG3], "pg2", "pg2 can't take over: it can't be asked (no answer)", "", id="dead candidate"
    ),
    pytest.param([PG1, ABSENT, PG3], "pg2", "holds no database", "", id="empty candidate"),
    pytest.param(
        [PG1, standby(streaming=False), PG3], "pg2", "doesn't stream from pg1", "run site.yml first", id="not streaming"
    ),
    pytest.param(
        [PG1, standby("pg3"), PG3], "pg2", "streams from pg3, not from the primary pg1", "run site.yml", id="cascading"
    ),
    pytest.param([PG1, standby(upstream=None), PG3], "pg2", "streams from nobody", "site.yml", id="no upstream"),
    pytest.param(
        [PG1, standby(replay_paused=True), PG3], "pg2", "replay paused", "SELECT pg_wal_replay_resume()", id="paused"
    ),
    pytest.param(
        [PG1, standby(accepts_connections=False), PG3], "pg2", "doesn't answer", "journalctl", id="silent candidate"
    ),
    pytest.param([PG1, standby(version=15), PG3], "pg2", "version 15, the others 17", "", id="another version"),
    pytest.param([PG1, standby(system_identifier="8"), PG3], "pg2", "another cluster", "", id="another cluster"),
    pytest.param(
        [PG1, standby(fenced=True, fenced_reason="why"), PG3], "pg2", "is fenced (why)", "remove the file", id="fenced"
    ),
    pytest.param(
        [PG1, stopped_standby(), PG3], "pg2", "is stopped", "systemctl start postgresql@17-main", id="stopped"
    ),
    pytest.param(
        [primary(2), stopped_primary(1, 150), standby(me="pg3", timeline=2)],
        "pg2",
        "stopped old primary",
        "rejoin.yml",
        id="an old primary",
    ),
    pytest.param(
        [primary(2), PG2, standby(me="pg3", timeline=2)], "pg2", "on timeline 1, pg1 on 2", "site.yml", id="TL"
    ),
    pytest.param(
        [lagging("pg2", MOST_LAG + 1), PG2, PG3], "pg2", "has 16.0 MiB to replay", "name another", id="behind"
    ),
    pytest.param(
        [primary(lsn=MOST_LAG + 1002), PG2, PG3],
        "pg2",
        "expected at most 16.0 MiB",
        "wait until it has caught up",
        id="behind, by its own account",
    ),
    pytest.param(
        [PG1, standby(replay_paused=True), DEAD],
        None,
        "no standby can take over: pg2 has its replay paused",
        "pg3 can't be asked",
        id="nobody",
    ),
]


@pytest.mark.parametrize(("observed", "to", "words", "remedy"), REFUSALS)
def test_what_is_refused_and_what_would_help(
    observed: list[Observation | None], to: str | None, words: str, remedy: str
) -> None:
    decided = decide(*observed, to=to)
    said = refused(decided)

    assert words in said
    assert remedy in said
    assert (decided.parts, decided.followers, decided.promote) == ({}, (), None)


def test_a_cluster_of_one() -> None:
    assert "declare a standby" in refused(decide(PG1, declared=Declared(members("pg1"))))


def test_a_refusal_says_why_a_host_does_not_answer() -> None:
    assert "(timed out)" in refused(decide(PG1, DEAD, PG3, to="pg2", errors={"pg2": "timed out"}))


def test_sixteen_megabytes_are_caught_up_in_no_time() -> None:
    assert decide(lagging("pg2", MOST_LAG), PG2, PG3, to="pg2").outcome is Outcome.ACT


def test_the_primary_knows_better_how_far_behind_a_standby_is() -> None:
    """It was asked a moment later, and has written much since."""
    assert decide(lagging("pg2", 0), standby(lsn=1), PG3, to="pg2").outcome is Outcome.ACT


class TestReason:
    @pytest.mark.parametrize(
        ("observed", "to", "words"),
        [
            ([PG1, PG2, PG3], "pg3", "you named it"),
            ([PG1, PG2, PG3], None, "as far as pg3"),
            ([standby("pg2", "pg1", 2), primary(2), DEAD], None, "the inventory names it"),
        ],
        ids=["named", "the most", "declared"],
    )
    def test_why_it_is_that_one(self, observed: list[Observation | None], to: str | None, words: str) -> None:
        assert words in decide(*observed, to=to).candidate_reason


class TestNotes:
    def test_nobody_else_can_acknowledge(self) -> None:
        (note,) = decide(PG1, PG2, DEAD).notes
        assert "its writes wait until pg1 is back as a standby" in note
        two = [primary(synchronous_standby_names=waits_for("pg2")), standby(synchronous_standby_names=waits_for("pg1"))]
        assert decide(*two, declared=TWO).notes == (note,)

    def test_somebody_can(self) -> None:
        assert decide(PG1, PG2, PG3).notes == ()
        assert decide(PG1, PG2, standby("pg2", "pg3")).notes == ()

    def test_nobody_has_to(self) -> None:
        assert decide(PG1, PG2, DEAD, declared=replace(THREE, synchronous=Synchronous.OFF)).notes == ()


# The primary serves; what a handover to it left undone, with the name given and without.
SETTLED: list[Any] = [
    pytest.param(
        [standby("pg2", "pg1", 2), primary(2), standby("pg2", "pg3", 2)], "nothing", "none none none", id="all done"
    ),
    pytest.param(
        [stopped_primary(1, 90), primary(2), standby("pg2", "pg3", 2)],
        "finish",
        "rejoin none none",
        id="the old primary has stopped",
    ),
    pytest.param(
        [stopped_standby("pg2", "pg1", 1, 90), primary(2), standby("pg2", "pg3", 2)],
        "finish",
        "rejoin none none",
        id="the old primary has stopped as a standby",
    ),
    pytest.param(
        [standby("pg2", "pg1", 2), primary(2), standby("pg1", "pg3", 1, 90, streaming=False)],
        "finish",
        "none none follow",
        id="a standby follows the old primary as a cascade",
    ),
    pytest.param([DEAD, primary(2), standby("pg2", "pg3", 2)], "nothing", "hold none none", id="the old one is dead"),
    pytest.param(
        [DEAD, primary(2), standby("pg1", "pg3", 1, 90, streaming=False)],
        "finish",
        "hold none follow",
        id="one is left",
    ),
    pytest.param(
        [stopped_primary(1, 150), primary(2), standby("pg2", "pg3", 2)],
        "nothing",
        "hold none none",
        id="it has diverged",
    ),
    pytest.param(
        [stopped_primary(1, 90, clean_shutdown=False), primary(2), standby("pg2", "pg3", 2)],
        "nothing",
        "hold none none",
        id="it has crashed",
    ),
    pytest.param(
        [stopped_standby("pg2", "pg1", 2), primary(2), standby("pg2", "pg3", 2)],
        "nothing",
        "hold none none",
        id="a standby is stopped",
    ),
]


@pytest.mark.parametrize(("observed", "outcome", "expected"), SETTLED)
def test_a_handover_that_has_happened_is_finished(
    observed: list[Observation | None], outcome: str, expected: str
) -> None:
    decided = decide(*observed, to="pg2")

    assert (decided.outcome.value, moves(decided)) == (outcome, expected)
    assert (decided.candidate, decided.timeline, decided.promote, decided.parts) == ("pg2", 2, None, {})


@pytest.mark.parametrize(
    ("observed", "outcome"),
    [
        pytest.param(
            [stopped_primary(1, 90), primary(2), standby("pg2", "pg3", 2)], Outcome.FINISH, id="an old primary"
        ),
        pytest.param(
            [DEAD, primary(2), standby("pg1", "pg3", 1, 90, streaming=False)], Outcome.FINISH, id="one is left"
        ),
        pytest.param([standby("pg2", "pg1", 2), primary(2), standby("pg1", "pg3", 2)], Outcome.ACT, id="it has begun"),
        pytest.param(
            [standby("pg2", "pg1", 2), primary(2), stopped_standby("pg2", "pg3", 2)], Outcome.ACT, id="one is stopped"
        ),
        pytest.param(
            [standby("pg2", "pg1", 2), primary(2), standby("pg2", "pg3", 2, streaming=False)],
            Outcome.ACT,
            id="one is cut off",
        ),
    ],
)
def test_without_a_name_what_was_left_comes_before_the_way_back(
    observed: list[Observation | None], outcome: Outcome
) -> None:
    """Run again after an interruption it must not hand over to where it came from."""
    decided = decide(*observed)

    assert decided.outcome is outcome
    assert decided.candidate == ("pg2" if outcome is Outcome.FINISH else "pg1")


# Nobody is a primary: the old one stopped, the new one wasn't promoted yet.
STOPPED = stopped_primary(lsn=1000)
HOLDS = standby(lsn=1120, streaming=False)
BETWEEN: list[Any] = [
    pytest.param(
        [STOPPED, HOLDS, standby("pg2", "pg3", lsn=1120)], "pg2", "rejoin promote none", id="stopped in order"
    ),
    pytest.param(
        [stopped_standby("pg2", "pg1", lsn=1000), HOLDS, standby("pg2", "pg3", lsn=1120)],
        "pg2",
        "rejoin promote none",
        id="stopped as a standby",
    ),
    pytest.param(
        [standby("pg2", "pg1", lsn=1120), HOLDS, standby("pg2", "pg3", lsn=1120)],
        "pg2",
        "none promote none",
        id="runs as a standby",
    ),
    pytest.param([STOPPED, HOLDS, standby(me="pg3", lsn=1120)], "pg2", "rejoin promote follow", id="not gathered yet"),
    pytest.param([STOPPED, HOLDS, ABSENT], "pg2", "rejoin promote hold", id="an empty member"),
]


@pytest.mark.parametrize(("observed", "candidate", "expected"), BETWEEN)
def test_a_handover_that_stopped_half_way_is_finished(
    observed: list[Observation | None], candidate: str, expected: str
) -> None:
    decided = decide(*observed, to=candidate)

    assert decided.refusals == ()
    assert (decided.outcome, decided.promote, moves(decided)) == (Outcome.FINISH, candidate, expected)
    assert (decided.from_timeline, decided.timeline, decided.parts) == (1, 2, {})


def test_without_a_name_the_one_that_holds_the_most_is_promoted() -> None:
    assert decide(STOPPED, HOLDS, standby("pg2", "pg3", lsn=1120)).promote == "pg2"
    assert decide(STOPPED, standby(lsn=1119), standby("pg2", "pg3", lsn=1120)).promote == "pg3"


@pytest.mark.parametrize(
    ("observed", "words", "remedy"),
    [
        pytest.param([STOPPED, HOLDS, DEAD], "pg3 can't be asked", "failover.yml", id="somebody wasn't asked"),
        pytest.param(
            [STOPPED, standby(lsn=1000), ABSENT],
            "doesn't hold the end of pg1",
            "site.yml to start the old",
            id="too short",
        ),
        pytest.param(
            [stopped_primary(clean_shutdown=False), HOLDS, standby(me="pg3", lsn=1120)],
            "may lack what pg1 holds",
            "failover.yml if it is lost",
            id="crashed",
        ),
        pytest.param(
            [stopped_standby("pg2", "pg1", lsn=1000, clean_shutdown=False), HOLDS, standby(me="pg3", lsn=1120)],
            "may lack what pg1 holds",
            "failover.yml",
            id="crashed as a standby",
        ),
        pytest.param([STOPPED, HOLDS, standby(me="pg3", lsn=1121)], "lacks what pg3 holds", "", id="not the most"),
        pytest.param(
            [STOPPED, HOLDS, standby(me="pg3", lsn=1100, lsn_exact=False)], "may lack what pg3", "", id="not exact"
        ),
        pytest.param(
            [STOPPED, standby(lsn=1120, lsn_exact=False), ABSENT],
            "still replays what it received",
            "",
            id="itself not exact",
        ),
        pytest.param([STOPPED, standby(lsn=1120, replay_paused=True), ABSENT], "replay paused", "", id="paused"),
        pytest.param([ABSENT, ABSENT, ABSENT], "holds no database", "", id="no data at all"),
    ],
)
def test_half_way_and_not_safe_to_finish(observed: list[Observation | None], words: str, remedy: str) -> None:
    said = refused(decide(*observed, to="pg2"))

    assert words in said
    assert remedy in said


def test_afterwards_the_inventory_is_to_be_edited() -> None:
    steps = decide(PG1, PG2, DEAD).next_steps

    assert "        pg2:" in steps
    assert steps[-1] == "To bring back pg3: site.yml"
    assert decide(standby("pg2", "pg1", 2), primary(2), standby("pg2", "pg3", 2)).next_steps == ()


healthy = st.fixed_dictionaries(
    {
        "pg1": st.one_of(
            st.builds(primary, timeline=st.sampled_from([1, 2]), lsn=st.just(1000)),
            st.builds(stopped_primary, lsn=st.just(1000), clean_shutdown=st.booleans()),
        ),
        "pg2": st.one_of(well_placed, st.just(HOLDS)),
        "pg3": st.one_of(well_placed, st.just(standby("pg2", "pg3", lsn=1120))),
    }
)
situations = st.one_of(clusters, lost_clusters, healthy, healthy)
targets = st.sampled_from([None, *ADDRESSES])


class TestRules:
    @given(situations, targets)
    def test_never_two_primaries(self, seen: Seen, to: str | None) -> None:
        decided = switchover(seen, THREE, to)
        running = [name for name, found in seen.items() if found is not None and found.state is State.PRIMARY]

        if len(running) > 1:
            assert decided.outcome is Outcome.REFUSE
        if decided.parts:
            assert running == [decided.old_primary]
            assert sorted(part["part"] for part in decided.parts.values()) == ["hand_over", "take_over"]
        if decided.promote is not None:
            assert running == []
            assert None not in seen.values()

    @given(situations, targets)
    def test_who_takes_over_is_close_behind_the_primary_and_fit(self, seen: Seen, to: str | None) -> None:
        decided = switchover(seen, THREE, to)
        if decided.outcome is not Outcome.ACT:
            return
        source, best = seen[decided.old_primary or ""], seen[decided.candidate or ""]
        assert source is not None
        assert best is not None
        assert to in (None, decided.candidate)
        assert source.accepts_connections
        assert best.state is State.STANDBY
        assert best.accepts_connections
        assert best.streaming
        assert not best.replay_paused
        assert not best.fenced
        assert (best.system_identifier, best.timeline) == (source.system_identifier, source.timeline)
        assert best.upstream is not None
        assert best.upstream.host == decided.old_primary

    @given(situations, targets)
    def test_who_is_promoted_to_finish_holds_all_there_is(self, seen: Seen, to: str | None) -> None:
        decided = switchover(seen, THREE, to)
        if decided.promote is None:
            return
        best = seen[decided.promote]
        assert best is not None
        for name, other in seen.items():
            assert other is not None
            if name == decided.promote or not other.has_data or other.system_identifier != best.system_identifier:
                continue
            assert other.history <= best.history
            assert other.clean_shutdown if other.state is State.STOPPED else other.lsn_exact

    @given(situations, targets)
    def test_nobody_is_made_to_follow_who_streams_from_it(self, seen: Seen, to: str | None) -> None:
        """Two that follow each other have no source."""
        decided = switchover(seen, THREE, to)
        if decided.outcome is not Outcome.ACT:
            return
        best = seen[decided.candidate or ""]
        assert best is not None
        assert best.upstream is not None
        assert best.upstream.host not in decided.followers

    @given(situations, targets)
    def test_every_member_has_a_move_a_reason_and_a_row(self, seen: Seen, to: str | None) -> None:
        decided = switchover(seen, THREE, to)

        assert [member.name for member in decided.members] == [row.name for row in decided.rows] == list(ADDRESSES)
        assert all(member.reason for member in decided.members)
        assert bool(decided.refusals) is (decided.outcome is Outcome.REFUSE)
        for member in decided.members:
            if seen[member.name] is None:
                assert member.action is Move.HOLD
