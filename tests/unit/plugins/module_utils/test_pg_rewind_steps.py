# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Lsn,
    Observation,
    PgError,
    State,
    TimelineSwitch,
    Upstream,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_fork import (
    History,
    segment_name,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_rewind_steps import (
    Own,
    Primary,
    Route,
    SavedFork,
    rejoin,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_steps import (
    Local,
    Lost,
    Replication,
    Source,
    StandbyAction,
    Step,
    Wanted,
)
from hypothesis import given
from hypothesis import strategies as st

SIZE = 16 << 20
UPSTREAM = Upstream("pg2", "10.0.0.2", 5432, "pg1")
REPLICATION = Replication(UPSTREAM, "replication", "pg1")
WANTED = Wanted(StandbyAction.REJOIN, REPLICATION)
DISCARD = replace(WANTED, discard=True)
RIGHT = Local(REPLICATION.settings, overridden=False, enabled=True)
FENCED = replace(RIGHT, fenced=True)
FORK = TimelineSwitch(1, Lsn.parse("0/3000100"))

PRIMARY = Primary(
    Source("7", timeline=2, version=17, slot_exists=True),
    in_recovery=False,
    history=History(2, (FORK,), Lsn.parse("0/5000000")),
    oldest=2,
)
CRASHED = Observation(State.STOPPED, data_directory="/data", system_identifier="7", timeline=1, upstream=UPSTREAM)
RUNNING = replace(CRASHED, state=State.PRIMARY)
STANDBY = replace(CRASHED, state=State.STANDBY, standby_signal=True)
STOPPED = replace(STANDBY, state=State.STOPPED)
ABSENT = Observation(State.ABSENT, data_directory="/data")


def own(end: str | None, *, timeline: int = 1, missing: int | None = None, **more: Any) -> Own:
    switches = (FORK,) if timeline == 2 else ()
    last = Lsn.parse(end) if end else None
    names = {segment_name(line, number, SIZE) for line in (1, 2) for number in range(8) if number != missing}
    return Own(History(timeline, switches, last), names, SIZE, **more)


BEHIND = own("0/3000100")
BEYOND = own("0/4000200")
HALFWAY = replace(BEYOND, halfway=True, saved=SavedFork(BEYOND.history, FORK, Lost(2, "/lost")))

STEPS = [
    pytest.param(ABSENT, WANTED, RIGHT, BEHIND, PRIMARY, "copy start wait", id="nothing there"),
    pytest.param(
        replace(ABSENT, clone_in_progress=True),
        *(WANTED, RIGHT, BEHIND, replace(PRIMARY, in_recovery=True)),
        "discard_left_over copy start wait",
        id="the left-over of a clone, for which a standby will do",
    ),
    pytest.param(CRASHED, WANTED, RIGHT, BEHIND, PRIMARY, "standby_signal start wait", id="nothing beyond the fork"),
    pytest.param(
        CRASHED,
        *(WANTED, replace(FENCED, held=True, settings=""), BEHIND, PRIMARY),
        "standby_signal configure start wait unfence",
        id="the same, fenced",
    ),
    pytest.param(STOPPED, WANTED, RIGHT, BEHIND, PRIMARY, "start wait", id="a stopped standby"),
    pytest.param(STANDBY, WANTED, RIGHT, BEHIND, PRIMARY, "wait", id="a standby that doesn't stream yet"),
    pytest.param(
        STANDBY,
        *(
            WANTED,
            replace(RIGHT, settings="else"),
            BEHIND,
            replace(PRIMARY, source=replace(PRIMARY.source, slot_exists=False)),
        ),
        "create_slot configure reload wait",
        id="a standby of another upstream",
    ),
    pytest.param(
        STANDBY,
        *(WANTED, RIGHT, BEHIND, replace(PRIMARY, source=replace(PRIMARY.source, slot_lost=True))),
        "drop_slot create_slot wait",
        id="a slot that lost its WAL, which is still there",
    ),
    pytest.param(
        STANDBY,
        *(WANTED, RIGHT, BEHIND, replace(PRIMARY, oldest=4)),
        "stop copy start wait clear",
        id="a standby whose WAL is gone",
    ),
    pytest.param(
        CRASHED,
        *(WANTED, RIGHT, BEHIND, replace(PRIMARY, oldest=4)),
        "fence copy start wait unfence clear",
        id="an old primary whose WAL is gone",
    ),
    pytest.param(
        CRASHED,
        *(WANTED, RIGHT, BEYOND, PRIMARY),
        "fence save_fork checkpoint rewind start wait unfence clear",
        id="a fork",
    ),
    pytest.param(
        STANDBY,
        *(WANTED, RIGHT, BEYOND, PRIMARY),
        "fence stop save_fork checkpoint rewind start wait unfence clear",
        id="a standby with a fork",
    ),
    pytest.param(
        RUNNING,
        *(replace(WANTED, stop_primary=True), RIGHT, BEHIND, PRIMARY),
        "fence stop save_fork checkpoint rewind start wait unfence clear",
        id="an obsolete primary writes a checkpoint when it stops",
    ),
    pytest.param(
        CRASHED,
        *(WANTED, FENCED, replace(BEYOND, saved=SavedFork(BEYOND.history, FORK)), PRIMARY),
        "checkpoint rewind start wait unfence clear",
        id="already saved",
    ),
    pytest.param(
        CRASHED,
        *(
            WANTED,
            FENCED,
            replace(BEYOND, saved=SavedFork(replace(BEYOND.history, end=FORK.switch_lsn), FORK)),
            PRIMARY,
        ),
        "save_fork checkpoint rewind start wait unfence clear",
        id="it went on after it was saved",
    ),
    pytest.param(
        CRASHED,
        *(WANTED, RIGHT, replace(BEYOND, rewindable=False), PRIMARY),
        "fence save_fork copy start wait unfence clear",
        id="no checksums",
    ),
    pytest.param(
        CRASHED,
        *(WANTED, FENCED, replace(BEYOND, saved=SavedFork(BEYOND.history, FORK, failed="so")), PRIMARY),
        "copy start wait unfence clear",
        id="pg_rewind failed",
    ),
    pytest.param(
        replace(ABSENT, clone_in_progress=True),
        *(WANTED, replace(FENCED, left_overs=True), HALFWAY, PRIMARY),
        "checkpoint rewind start wait unfence clear",
        id="interrupted while it was rewound",
    ),
    pytest.param(
        CRASHED,
        *(DISCARD, RIGHT, replace(BEYOND, rewindable=False, free=1 << 20), PRIMARY),
        "fence save_fork discard_data copy start wait unfence clear",
        id="too little room for two",
    ),
    pytest.param(
        CRASHED,
        *(DISCARD, RIGHT, own(None), PRIMARY),
        "fence save_fork copy start wait unfence clear",
        id="the end of WAL isn't found, which is accepted",
    ),
    pytest.param(
        CRASHED,
        *(
            DISCARD,
            RIGHT,
            replace(BEYOND, history=History(9, (), Lsn(9))),
            replace(PRIMARY, history=History(11, (), Lsn(9))),
        ),
        "fence copy start wait unfence clear",
        id="nothing in common, which is accepted",
    ),
]


@pytest.mark.parametrize(("observed", "wanted", "local", "here", "primary", "expected"), STEPS)
def test_steps(observed: Observation, wanted: Wanted, local: Local, here: Own, primary: Primary, expected: str) -> None:
    decision = rejoin(observed, wanted, local, here, primary)

    assert " ".join(step.value for step in decision.steps) == expected
    assert decision.reason


REFUSED = [
    pytest.param(
        CRASHED,
        *(DISCARD, BEYOND, replace(PRIMARY, source=replace(PRIMARY.source, system_identifier="8"))),
        "/data has system identifier 7, expected 8",
        id="another cluster",
    ),
    pytest.param(CRASHED, DISCARD, BEYOND, replace(PRIMARY, in_recovery=True), "is a standby itself", id="no primary"),
    pytest.param(RUNNING, WANTED, BEYOND, PRIMARY, "obsolete.*stop_primary: true", id="a running primary"),
    pytest.param(
        RUNNING,
        *(replace(DISCARD, stop_primary=True), own("0/6000000", timeline=2), PRIMARY),
        "expected a later timeline that came out of this one",
        id="a running primary on the same timeline",
    ),
    pytest.param(
        RUNNING,
        *(replace(DISCARD, stop_primary=True), replace(BEYOND, history=History(3, (FORK,), Lsn(9))), PRIMARY),
        "expected a later timeline that came out of this one",
        id="a running primary on a later timeline",
    ),
    pytest.param(CRASHED, WANTED, own(None), PRIMARY, "the end of its WAL can't be found.*discard", id="no end"),
    pytest.param(
        CRASHED, WANTED, own("0/4000200", missing=3), PRIMARY, "not all of its WAL from 0/3000100", id="a gap"
    ),
    pytest.param(
        CRASHED,
        WANTED,
        own("0/6000000", timeline=2),
        PRIMARY,
        "holds the same timeline only up to 0/5000000",
        id="ahead",
    ),
    pytest.param(
        STOPPED,
        *(WANTED, replace(BEYOND, history=History(3, (FORK,), Lsn.parse("0/4000200"))), PRIMARY),
        "is only on timeline 2: it may be an old primary itself",
        id="an old primary as upstream",
    ),
    pytest.param(
        CRASHED, WANTED, replace(BEHIND, same_wal=False), PRIMARY, "although the timeline is the same", id="other WAL"
    ),
    pytest.param(
        CRASHED,
        *(WANTED, replace(BEYOND, rewindable=False, free=1 << 20), replace(PRIMARY, size=1 << 30)),
        "needs about 1190 MB, 1 MB are free.*-e rejoin_discard=pg1",
        id="too little room",
    ),
    pytest.param(
        ABSENT,
        *(
            WANTED,
            replace(HALFWAY, saved=SavedFork(BEYOND.history, replace(FORK, switch_lsn=Lsn.parse("0/3000200")))),
            PRIMARY,
        ),
        "an interrupted rewind was made for another primary",
        id="what lies between two forks was not saved",
    ),
    pytest.param(ABSENT, WANTED, replace(HALFWAY, saved=None), PRIMARY, "another primary", id="nobody knows the fork"),
]


@pytest.mark.parametrize(("observed", "wanted", "here", "primary", "message"), REFUSED)
def test_refused(observed: Observation, wanted: Wanted, here: Own, primary: Primary, message: str) -> None:
    with pytest.raises(PgError, match=message):
        rejoin(observed, wanted, RIGHT, here, primary)


POSITIONS = st.integers(1, 6 << 24).map(Lsn)


@given(
    observed=st.sampled_from([CRASHED, STOPPED, STANDBY, RUNNING, ABSENT]),
    here=st.builds(
        Own,
        st.builds(
            lambda timeline, end: History(timeline, (FORK,) if timeline > 1 else (), end),
            st.sampled_from([1, 2, 3]),
            st.none() | POSITIONS,
        ),
        st.sets(st.sampled_from(sorted(own("0/1").segments))),
        st.just(SIZE),
        st.booleans(),
        st.sampled_from([None, True, False]),
        st.none() | st.builds(lambda end: SavedFork(History(1, (), end), FORK), POSITIONS),
        st.booleans(),
        st.sampled_from([1, 1 << 40]),
    ),
    local=st.builds(Local, st.just(RIGHT.settings), st.just(False), st.booleans(), st.booleans(), st.booleans()),
    end=POSITIONS,
    oldest=st.integers(0, 7),
)
def test_nothing_is_discarded_that_is_neither_the_primarys_nor_saved(
    observed: Observation, here: Own, local: Local, end: Lsn, oldest: int
) -> None:
    primary = replace(PRIMARY, history=History(2, (FORK,), end), oldest=oldest)
    try:
        decision = rejoin(observed, replace(WANTED, stop_primary=True), local, here, primary)
    except PgError as error:
        assert "othing was changed" in str(error)  # noqa: PT017 - any other ending is looked at below
        return
    steps = decision.steps
    replaced = {Step.COPY, Step.REWIND} & set(steps)
    mine = here.history
    contained = mine.end is not None and (
        (mine.timeline == 1 and mine.end <= FORK.switch_lsn) or (mine.timeline == 2 and mine.end <= end)
    )
    if observed.has_data and replaced and not contained:
        done = Step.SAVE_FORK in steps or (here.saved is not None and here.saved.history == mine)
        assert done
    if not replaced and observed.has_data:
        assert contained
        assert decision.route in (Route.FOLLOW, Route.RESUME)
    if Step.SAVE_FORK in steps:
        assert steps.index(Step.SAVE_FORK) < min(steps.index(step) for step in replaced)
    # What is saved is read by a server that is no standby, so it is fenced before; and free at the end.
    if replaced and observed.has_data and not local.fenced and (Step.SAVE_FORK in steps or not observed.is_standby):
        assert steps[0] is Step.FENCE
    assert (Step.UNFENCE in steps) == (Step.FENCE in steps or local.fenced or local.held)
    assert Step.DISCARD_DATA not in steps
    assert steps.count(Step.WAIT) == 1


@given(st.builds(SavedFork, st.builds(History, st.integers(1, 9), st.just((FORK,)), st.none() | POSITIONS), st.just(FORK), st.just(Lost(3, "/x")), st.none() | st.text()))  # fmt: skip
def test_what_is_saved_can_be_read_back(saved: SavedFork) -> None:
    assert SavedFork.from_dict(saved.to_dict()) == saved
