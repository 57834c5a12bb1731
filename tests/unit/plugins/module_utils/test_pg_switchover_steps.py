# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import Lsn, PgError
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_steps import (
    Peer,
    PeerAnswer,
    Standing,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_switchover_steps import (
    Follower,
    Move,
    Record,
    Seen,
    Successor,
    Verdict,
    Watch,
    is_candidate,
    is_shutdown,
    last_record,
    next_move,
    refuse_hand_over,
    verdict,
    waldump_starts,
)
from hypothesis import given
from hypothesis import strategies as st

SEGMENT = 16 << 20
END = Lsn.parse("0/3000108")
STREAMING = Seen(in_recovery=True, streaming=True, announced=False, received=END, replayed=END)
ENDED = replace(STREAMING, streaming=False)

WALDUMP = """\
rmgr: LogicalMessage len (rec/tot):     64/    64, tx:        727, lsn: 0/03000028, prev 0/02000100, desc: MESSAGE transactional, prefix "renfo"; payload (8 bytes): 70 72 6F 6D 6F 74 65 64
rmgr: Transaction len (rec/tot):     34/    34, tx:        727, lsn: 0/03000068, prev 0/03000028, desc: COMMIT 2026-11-23 06:21:32.212188 UTC
rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 0/03000090, prev 0/03000068, desc: CHECKPOINT_SHUTDOWN redo 0/3000090; tli 1; prev tli 1; fpw true; xid 0:728; oid 16385; shutdown
"""
SHUTDOWN = Record(Lsn.parse("0/3000090"), "XLOG CHECKPOINT_SHUTDOWN redo 0/3000090; tli 1; prev tli 1; shutdown")


class TestNextMove:
    @pytest.mark.parametrize(
        ("seen", "announced_before", "move"),
        [
            (STREAMING, False, Move.WAIT),
            (replace(STREAMING, announced=True), False, Move.WAIT),
            (ENDED, False, Move.WAIT),
            (ENDED, True, Move.PROVE),
            (replace(ENDED, announced=True), False, Move.PROVE),
            (replace(ENDED, announced=True, received=Lsn(END + 1)), False, Move.WAIT),
            (replace(ENDED, announced=True, received=Lsn(0)), False, Move.PROVE),
            (replace(STREAMING, in_recovery=False), False, Move.PROMOTED),
        ],
    )
    def test_one_look(self, seen: Seen, announced_before: bool, move: Move) -> None:
        assert next_move(Watch(announced_before), seen)[1] is move

    def test_an_announcement_that_was_taken_back_is_forgotten(self) -> None:
        watch, _move = next_move(Watch(), replace(STREAMING, announced=True))
        watch, _move = next_move(watch, STREAMING)
        assert next_move(watch, ENDED)[1] is Move.WAIT

    def test_what_was_refuted_is_not_proven_again_until_more_came(self) -> None:
        watch = Watch(announced=True, refuted=END)
        assert next_move(watch, ENDED)[1] is Move.WAIT
        more = Lsn(END + 120)
        assert next_move(watch, replace(ENDED, received=more, replayed=more))[1] is Move.PROVE

    @given(
        st.lists(
            st.builds(
                Seen,
                st.just(True),
                st.booleans(),
                st.booleans(),
                st.integers(0, 9).map(Lsn),
                st.integers(0, 9).map(Lsn),
            )
        )
    )
    def test_nothing_is_proven_that_was_not_announced_or_may_go_on(self, looks: list[Seen]) -> None:
        watch = Watch()
        for number, seen in enumerate(looks):
            watch, move = next_move(watch, seen)
            if move is Move.PROVE:
                assert not seen.streaming
                assert seen.replayed >= seen.received
                # Announced now, or at some look since it last streamed, that one included.
                past = looks[: number + 1]
                streamed = [index for index, look in enumerate(past) if look.streaming]
                assert any(look.announced for look in past[streamed[-1] if streamed else 0 :])


class TestProof:
    def test_the_last_record(self) -> None:
        record = last_record(WALDUMP)
        assert record is not None
        assert record.lsn == SHUTDOWN.lsn
        assert is_shutdown(record, END, 1)

    def test_no_record(self) -> None:
        assert last_record("") is None
        assert last_record("first record is after 0/3000008, at 0/3000028, skipping over 32 bytes\n") is None
        assert not is_shutdown(None, END, 1)

    @pytest.mark.parametrize(
        ("record", "end", "timeline", "expected"),
        [
            (SHUTDOWN, END, 1, True),
            # It spans two pages.
            (SHUTDOWN, Lsn(END + 40), 1, True),
            (SHUTDOWN, END, 2, False),
            # Something was replayed after it, or not even the record itself.
            (SHUTDOWN, Lsn(END + 8192), 1, False),
            (SHUTDOWN, SHUTDOWN.lsn, 1, False),
            (SHUTDOWN, Lsn(SHUTDOWN.lsn - 8), 1, False),
            (replace(SHUTDOWN, description="XLOG CHECKPOINT_ONLINE redo 0/3000090; tli 1; online"), END, 1, False),
            (replace(SHUTDOWN, description="XLOG END_OF_RECOVERY tli 1; prev tli 1"), END, 1, False),
            (replace(SHUTDOWN, description="Standby CHECKPOINT_SHUTDOWN redo 0/3; tli 1;"), END, 1, False),
            (replace(SHUTDOWN, description="XLOG CHECKPOINT_SHUTDOWN redo 0/3000090; tli 11; "), END, 1, False),
        ],
    )
    def test_what_is_a_shutdown(self, record: Record, end: Lsn, timeline: int, expected: bool) -> None:
        assert is_shutdown(record, end, timeline) is expected

    @pytest.mark.parametrize(
        ("end", "starts"),
        [
            ("0/30000A0", ["0/3000000", "0/2FFE000"]),
            ("0/3000108", ["0/3000000"]),
            ("0/3004000", ["0/3002000"]),
            ("0/3004080", ["0/3002000"]),
            ("0/3004200", ["0/3004000"]),
            # It is the last record of a segment.
            ("0/4000000", ["0/3FFE000"]),
        ],
    )
    def test_where_to_read_from(self, end: str, starts: list[str]) -> None:
        assert [str(start) for start in waldump_starts(Lsn.parse(end), SEGMENT)] == starts

    @given(st.integers(1 << 25, 1 << 40).map(lambda number: Lsn(number * 8)))
    def test_a_start_is_before_any_record_that_could_end_there(self, end: Lsn) -> None:
        starts = waldump_starts(end, SEGMENT)
        assert starts[-1] <= end - 256
        assert all(start % 8192 == 0 for start in starts)
        assert starts[0] // SEGMENT == (end - 1) // SEGMENT


PEER = Peer("pg1", "192.0.2.21", 5432)
STANDBY = Standing(True, 1, "42", END, SEGMENT, streams_from=("192.0.2.21", 5432))


@pytest.mark.parametrize(
    ("standing", "timeline", "fence", "expected"),
    [
        (STANDBY, None, None, True),
        (STANDBY, 1, None, True),
        (replace(STANDBY, streams_from=("pg1", 5432)), 1, None, True),
        (replace(STANDBY, in_recovery=False, timeline=2), 1, None, False),
        (replace(STANDBY, in_recovery=False), 1, None, "is a primary on timeline 1, expected a standby of pg1"),
        (replace(STANDBY, in_recovery=False, timeline=2), None, None, "is a primary on timeline 2"),
        (STANDBY, 2, None, "on timeline 1, expected timeline 2"),
        (replace(STANDBY, replay_paused=True), 1, None, r"replay is paused.*pg_wal_replay_resume"),
        (replace(STANDBY, streams_from=None), 1, None, "streams from nobody, expected pg1"),
        (replace(STANDBY, streams_from=("192.0.2.23", 5432)), 1, None, "streams from 192.0.2.23:5432"),
        (replace(STANDBY, streams_from=("192.0.2.21", 5433)), 1, None, "streams from 192.0.2.21:5433"),
        (STANDBY, 1, "pg3 was promoted", r"is fenced \(pg3 was promoted\)"),
        (replace(STANDBY, in_recovery=False, timeline=2), 1, "x", "is fenced"),
    ],
)
def test_who_may_take_over(standing: Standing, timeline: int | None, fence: str | None, expected: bool | str) -> None:
    if isinstance(expected, bool):
        assert is_candidate(standing, PEER, timeline, fence) is expected
        return
    with pytest.raises(PgError, match=expected) as raised:
        is_candidate(standing, PEER, timeline, fence)
    assert "Nothing was changed. Run" in str(raised.value)


PRIMARY = Standing(False, 1, "42", END, SEGMENT)
CANDIDATE = PeerAnswer(True, 1, END, "42", reachable=True)
CLOSE = Follower(0, 0)


@pytest.mark.parametrize(
    ("standing", "answer", "follower", "timeline", "fence", "found"),
    [
        (PRIMARY, CANDIDATE, CLOSE, 1, None, None),
        (PRIMARY, CANDIDATE, CLOSE, None, None, None),
        (PRIMARY, CANDIDATE, CLOSE, 1, "pg2 was promoted", r"is fenced \(pg2"),
        (
            replace(PRIMARY, in_recovery=True),
            CANDIDATE,
            CLOSE,
            1,
            None,
            "is a standby on timeline 1, expected the primary",
        ),
        (PRIMARY, CANDIDATE, CLOSE, 2, None, "on timeline 1, expected timeline 2"),
        (PRIMARY, PeerAnswer(error="no pg_hba.conf entry"), CLOSE, 1, None, "pg1 can't be asked: no pg_hba.conf entry"),
        (PRIMARY, replace(CANDIDATE, system_identifier="7"), CLOSE, 1, None, "identifier 7, expected 42"),
        (PRIMARY, replace(CANDIDATE, in_recovery=False, timeline=2), CLOSE, 1, None, "is a primary too, on timeline 2"),
        (PRIMARY, CANDIDATE, None, 1, None, "doesn't stream from this primary"),
    ],
)
def test_who_may_hand_over(
    standing: Standing,
    answer: PeerAnswer,
    follower: Follower | None,
    timeline: int | None,
    fence: str | None,
    found: str | None,
) -> None:
    if found is None:
        refuse_hand_over(standing, PEER, answer, follower, timeline, fence)
        return
    with pytest.raises(PgError, match=found) as raised:
        refuse_hand_over(standing, PEER, answer, follower, timeline, fence)
    assert "Nothing was changed" in str(raised.value)


@pytest.mark.parametrize(
    ("follower", "close"),
    [
        (Follower(0, 0), True),
        (Follower(1 << 20, 0), False),
        (Follower(0, 16 << 20), False),
        (Follower(9999, 1 << 20), True),
    ],
)
def test_who_is_close_behind(follower: Follower, close: bool) -> None:
    assert follower.is_close is close


@pytest.mark.parametrize(
    ("successor", "silent", "waited", "expected"),
    [
        (Successor(in_recovery=False, armed=True), 0, 0.1, Verdict.HANDED_OVER),
        (Successor(in_recovery=False, armed=False), 0, 99, Verdict.HANDED_OVER),
        (Successor(in_recovery=True, armed=True), 0, 0.1, Verdict.WAIT),
        (Successor(in_recovery=True, armed=True), 0, 89, Verdict.WAIT),
        (Successor(in_recovery=True, armed=True), 0, 90, Verdict.UNDECIDED),
        (Successor(in_recovery=True, armed=False), 0, 0.1, Verdict.HAND_BACK),
        (Successor(in_recovery=True, armed=False), 0, 99, Verdict.HAND_BACK),
        (None, 1, 1, Verdict.WAIT),
        (None, 29, 45, Verdict.WAIT),
        (None, 30, 30, Verdict.SILENT),
        (None, 5, 91, Verdict.UNDECIDED),
    ],
)
def test_what_becomes_of_the_old_primary(
    successor: Successor | None, silent: float, waited: float, expected: Verdict
) -> None:
    assert verdict(successor, silent, waited, timeout=30) is expected


@given(
    st.none() | st.builds(Successor, st.booleans(), st.booleans()),
    st.floats(0, 200),
    st.floats(0, 200),
)
def test_it_never_takes_itself_for_the_primary_while_the_other_may_be(
    successor: Successor | None, silent: float, waited: float
) -> None:
    found = verdict(successor, min(silent, waited), waited, timeout=30)
    if found is Verdict.HAND_BACK:
        assert successor == Successor(in_recovery=True, armed=False)
    if found is Verdict.SILENT:
        assert successor is None
        assert waited >= 30, "the candidate could still be armed"
    assert found is not Verdict.WAIT or waited < 90
