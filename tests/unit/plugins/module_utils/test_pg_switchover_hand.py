# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils import pg_switchover_hand
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import PgError
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import running_postmaster
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_session import (
    Session,
    local_session,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_switchover_hand import (
    HandOver,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_switchover_steps import (
    ANNOUNCED,
    ARMED,
    LOCK_SPACE,
    holders_sql,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_switchover_take import (
    TakeOver,
    TookOver,
)
from pg_pair import ACCESS, Systemd, eventually, is_primary, make_pair, peer_of, reaped, standby_of

if TYPE_CHECKING:
    from .conftest import Host

ARM = f"SELECT pg_try_advisory_lock({LOCK_SPACE}, {ARMED})"


def hand_over(host: Host, peer: Host, timeout: float = 10, timeline: int = 1, **more: Any) -> HandOver:
    standby = standby_of(host, peer, Systemd(host))
    home = host.instance.state_directory
    return HandOver(standby, peer_of(peer), ACCESS, timeline, timeout, guard_directory=home / "pg-guard", **more)


def take_over(host: Host, peer: Host, timeout: float = 10, timeline: int = 1) -> Future[TookOver]:
    part = TakeOver(host.instance, host.run, peer_of(peer), timeline, timeout)
    return ThreadPoolExecutor(1).submit(part.take_over)


@contextmanager
def armed(host: Host) -> Iterator[Session]:
    """A candidate that is ready and does nothing."""
    postmaster = running_postmaster(host.instance.data_directory)
    assert postmaster
    with local_session(host.instance, postmaster, 5) as session:
        assert session.value(ARM, 5) is True
        yield session


def files(host: Host) -> tuple[bool, str, str]:
    """What a handover leaves behind: the signal, the settings, a permission to start."""
    instance = host.instance
    settings = instance.standby_conf.read_text() if instance.standby_conf.exists() else ""
    permission = instance.socket_directory / f"{instance.version}-{instance.cluster}.start"
    return (
        (instance.data_directory / "standby.signal").exists(),
        settings,
        permission.read_text() if permission.exists() else "",
    )


def after_stop(part: HandOver, do: Callable[[], object]) -> HandOver:
    """``part``, with something that happens between the stop and the start as a standby."""
    stop = part._stop

    def stop_then(patient: bool) -> None:
        stop(patient)
        if patient:
            do()

    part._stop = stop_then  # type: ignore[method-assign]
    return part


class Writer:
    """Commits a number every few milliseconds wherever it can, and remembers what it was told."""

    def __init__(self, *hosts: Host) -> None:
        self.told: list[int] = []
        self.gap = 0.0
        self._hosts = hosts
        self._stop = False
        hosts[0].sql("CREATE TABLE numbers (number int)")
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop = True
        self._thread.join()

    def _run(self) -> None:
        last, number, at = time.monotonic(), 0, 0
        connection: Any = None
        while not self._stop:
            try:
                if connection is None:
                    instance = self._hosts[at % len(self._hosts)].instance
                    where = f"host={instance.socket_directory} port={instance.port} user=postgres dbname=postgres"
                    connection = psycopg2.connect(where)
                    connection.autocommit = True
                number += 1
                connection.cursor().execute(f"INSERT INTO numbers VALUES ({number})")
                now = time.monotonic()
                self.gap, last = max(self.gap, now - last), now
                self.told.append(number)
            except psycopg2.Error:
                at, connection = at + 1, None
            time.sleep(0.002)


def lost(host: Host, told: list[int]) -> set[int]:
    return set(told) - {int(line) for line in host.sql("SELECT number FROM numbers").splitlines()}


class TestHandedOver:
    def test_there_and_back_under_load(self, pg1: Host, pg2: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        make_pair(pg1, pg2)
        checked = hand_over(pg1, pg2).check()
        assert (checked.changed, checked.timeline_before) == (True, 1)
        before = files(pg1)
        with Writer(pg1, pg2) as writer:
            time.sleep(0.5)
            for old, new, timeline in ((pg1, pg2, 1), (pg2, pg1, 2)):
                name = new.instance.cluster
                writer.gap = 0.0
                candidate = take_over(new, old, timeline=timeline)
                done = hand_over(old, new, timeline=timeline, drop_slots=(name,)).hand_over()
                took = candidate.result(10)
                time.sleep(0.2)

                assert (done.changed, done.outcome, took.outcome) == (True, "handed_over", "took_over")
                assert (done.timeline_before, done.timeline_after) == (timeline, timeline + 1)
                assert (took.timeline_before, took.timeline_after) == (timeline, timeline + 1)
                assert done.warnings == ()
                print(f"no write for {writer.gap * 1000:.0f} ms; {done.phases}, {took.milliseconds} ms to promote")
                eventually(lambda old=old: old.sql("SELECT status FROM pg_stat_wal_receiver") == "streaming")
                assert old.sql("SELECT slot_name FROM pg_replication_slots") == "", "its own slot is of no use"
                assert new.sql("SELECT slot_name FROM pg_replication_slots WHERE active") == old.instance.cluster
                assert files(old)[0] is True
                assert files(old)[2] == ""
        assert files(pg1)[1] != before[1]
        assert is_primary(pg1)
        assert len(writer.told) > 100
        assert lost(pg1, writer.told) == set()
        again = hand_over(pg2, pg1, timeline=2).hand_over()
        assert (again.changed, again.outcome, again.timeline_after) == (False, "already", 3)

    def test_a_frozen_standby_does_not_hold_it_up(self, pg1: Host, pg2: Host, new_host: Callable[[str], Host]) -> None:
        pg3 = new_host("pg3")
        make_pair(pg1, pg2, pg3)
        receiver = int(pg3.sql("SELECT pid FROM pg_stat_wal_receiver"))
        candidate = take_over(pg2, pg1)
        part = hand_over(pg1, pg2)
        os.kill(receiver, signal.SIGSTOP)
        try:
            began = time.monotonic()
            done = part.hand_over()
            assert candidate.result(10).outcome == "took_over"
            print(done.phases)
            assert time.monotonic() - began < 6
        finally:
            os.kill(receiver, signal.SIGCONT)
        eventually(lambda: pg1.sql("SELECT status FROM pg_stat_wal_receiver") == "streaming")

    def test_the_old_primary_does_not_start_as_a_standby(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        candidate = take_over(pg2, pg1)
        part = hand_over(pg1, pg2)
        part.standby.run.start = lambda: None  # type: ignore[attr-defined]

        with pytest.raises(PgError, match=r"pg2 is the primary on timeline 2, but this instance didn't start"):
            part.hand_over()
        assert candidate.result(10).changed
        assert files(pg1)[0] is True, "it would start as a primary"

    def test_a_slot_that_was_lost_is_made_again(self, pg1: Host, pg2: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        make_pair(pg1, pg2)
        pg2.sql("SELECT pg_create_physical_replication_slot('pg1')")
        candidate = take_over(pg2, pg1)
        part = hand_over(pg1, pg2)
        part.hand_over()
        assert candidate.result(10).changed
        assert part.made_slot is False


class TestNotStopped:
    """Aborted before the stop: the primary was never anything else, and nothing is left behind."""

    @contextmanager
    def unharmed(self, pg1: Host, pg2: Host) -> Iterator[None]:
        before = pg1.pid, files(pg1), pg2.sql("SELECT * FROM pg_replication_slots")
        yield
        assert (pg1.pid, files(pg1), pg2.sql("SELECT * FROM pg_replication_slots")) == before
        assert is_primary(pg1)
        assert pg2.sql("SELECT pg_is_in_recovery()") == "t"
        assert pg2.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"

    def test_a_candidate_that_is_never_ready(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        with (
            self.unharmed(pg1, pg2),
            pytest.raises(PgError, match=r"switchover aborted: pg2 isn't ready to take over within 1 s.*not stopped"),
        ):
            hand_over(pg1, pg2, timeout=1).hand_over()

    def test_a_candidate_that_does_not_catch_up(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        with self.unharmed(pg1, pg2), armed(pg2):
            receiver = int(pg2.sql("SELECT pid FROM pg_stat_wal_receiver"))
            os.kill(receiver, signal.SIGSTOP)
            with pytest.raises(PgError, match=r"switchover aborted: pg2 didn't catch up within 1 s"):
                hand_over(pg1, pg2, timeout=3).hand_over()
            os.kill(receiver, signal.SIGCONT)
        with self.unharmed(pg1, pg2):
            pass

    def test_a_candidate_that_gives_up_just_before(self, pg1: Host, pg2: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        make_pair(pg1, pg2)
        pg1.instance.standby_conf.write_text("# somebody's\n")
        with self.unharmed(pg1, pg2), armed(pg2) as session:
            part = hand_over(pg1, pg2, timeout=2)
            make_slot = part._make_slot

            def give_up() -> None:
                make_slot()
                session.ask("SELECT pg_advisory_unlock_all()", 5)

            monkeypatch.setattr(part, "_make_slot", give_up)
            with pytest.raises(PgError, match=r"switchover aborted: pg2 gave up waiting"):
                part.hand_over()

    def test_an_announcement_of_which_nobody_knows_whether_it_was_heard(
        self, pg1: Host, pg2: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_pair(pg1, pg2)
        monkeypatch.setattr(pg_switchover_hand, "ANNOUNCE_SQL", "SELECT 1 / 0")
        with self.unharmed(pg1, pg2), armed(pg2):
            began = time.monotonic()
            with pytest.raises(PgError, match="division by zero"):
                hand_over(pg1, pg2, timeout=1).hand_over()
            # As long as it could have been acted on, this instance could not have been started as a primary.
            assert time.monotonic() - began >= 1

    def test_a_lock_of_an_earlier_run_of_its_own_is_no_candidate(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        ghost = hand_over(pg1, pg2)
        with self.unharmed(pg1, pg2):
            ghost.there.row(ARM)
            with pytest.raises(PgError, match="pg2 isn't ready to take over within 1 s"):
                hand_over(pg1, pg2, timeout=1).hand_over()
            ghost.there.close()

    def test_a_role_that_could_not_ask_what_a_way_back_needs(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        pg1.sql("REVOKE EXECUTE ON FUNCTION pg_stat_file(text, boolean) FROM replication")
        revoked = "SELECT has_function_privilege('replication', 'pg_stat_file(text, boolean)', 'EXECUTE')"
        eventually(lambda: pg2.sql(revoked) == "f")
        with self.unharmed(pg1, pg2), armed(pg2):
            for part in (hand_over(pg1, pg2).check, hand_over(pg1, pg2).hand_over):
                with pytest.raises(PgError, match=r"permission denied for function pg_stat_file.*Run site.yml"):
                    part()

    def test_refusals(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        with self.unharmed(pg1, pg2):
            with pytest.raises(PgError, match="on timeline 1, expected timeline 2"):
                hand_over(pg1, pg2, timeline=2).hand_over()
            with pytest.raises(PgError, match="is a standby on timeline 1"):
                hand_over(pg2, pg2).hand_over()
            part = hand_over(pg1, pg2)
            part.peer = peer_of(pg1)
            with pytest.raises(PgError, match="pg1 is a primary too"):
                part.check()
        pg2.stop()
        with pytest.raises(PgError, match=r"pg2 can't be asked: .*refused"):
            hand_over(pg1, pg2).hand_over()


class TestHandedBack:
    """Aborted after the stop: the old primary is the primary again, once the other can't become one."""

    def back(self, part: HandOver) -> threading.Thread:
        """``part`` in the background; it must end by being the primary again."""
        self.error: PgError | None = None

        def run() -> None:
            try:
                part.hand_over()
            except PgError as error:
                self.error = error

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def test_a_candidate_that_dies_after_the_stop(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        pg1.instance.standby_conf.write_text("# somebody's\n")
        with armed(pg2):
            pid = pg1.pid
            thread = self.back(hand_over(pg1, pg2, timeout=20))
            eventually(lambda: running_postmaster(pg1.instance.data_directory) is not None and pg1.pid != pid)
            time.sleep(0.5)
            assert pg1.sql("SELECT pg_is_in_recovery()") == "t"
            assert files(pg1)[0] is True
            assert f"port={pg2.instance.port}" in files(pg1)[1]
            began = time.monotonic()
        thread.join()
        print(f"the primary again after {(time.monotonic() - began) * 1000:.0f} ms")
        assert "switchover aborted: pg2 gave up" in str(self.error)
        assert "is the primary again" in str(self.error)
        assert is_primary(pg1)
        assert files(pg1)[:2] == (False, "# somebody's\n")
        assert "pg_switchover: pg2 didn't take over" in files(pg1)[2]
        assert pg2.sql("SELECT pg_is_in_recovery()") == "t"
        assert pg2.sql("SELECT count(*) FROM pg_replication_slots") == "0"
        eventually(lambda: pg2.sql("SELECT status FROM pg_stat_wal_receiver") == "streaming")
        assert pg1.sql("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)") == "00000001"

        # And then it succeeds.
        candidate = take_over(pg2, pg1)
        assert hand_over(pg1, pg2).hand_over().outcome == "handed_over"
        assert candidate.result(10).timeline_after == 2

    def test_the_candidates_server_crashes_and_comes_back(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)

        def crash() -> None:
            pg2.kill()
            reaped(pg2)
            pg2.start()

        with armed(pg2), pytest.raises(PgError, match="is the primary again"):
            after_stop(hand_over(pg1, pg2, timeout=20), crash).hand_over()
        assert is_primary(pg1)
        assert pg2.sql("SELECT pg_is_in_recovery()") == "t"

    def test_not_while_a_promotion_is_requested(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        request = pg2.instance.data_directory / "promote"
        with armed(pg2) as session:

            def request_and_die() -> None:
                request.touch()
                session.close()

            thread = self.back(after_stop(hand_over(pg1, pg2, timeout=20), request_and_die))
            # The server may find the file at any moment.
            time.sleep(1.5)
            if request.exists():
                assert pg1.sql("SELECT pg_is_in_recovery()") == "t"
                request.unlink()
            thread.join()
        assert (pg1.sql("SELECT pg_is_in_recovery()"), pg2.sql("SELECT pg_is_in_recovery()")) in (
            ("t", "f"),
            ("f", "t"),
        )

    def test_a_promotion_that_is_requested_and_never_comes(
        self, pg1: Host, pg2: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_pair(pg1, pg2)
        monkeypatch.setattr(pg_switchover_hand, "PROMOTION_SQL", "SELECT true, true")
        found = "pg2 neither took over nor gave up for certain within 3 s"
        with armed(pg2) as session, pytest.raises(PgError, match=found):
            after_stop(hand_over(pg1, pg2, timeout=1), session.close).hand_over()
        assert pg1.sql("SELECT pg_is_in_recovery()") == "t"
        assert files(pg1)[0] is True
        eventually(lambda: pg2.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0")

    def test_the_candidate_is_promoted_at_the_last_moment(
        self, pg1: Host, pg2: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_pair(pg1, pg2)
        part = hand_over(pg1, pg2)
        hand_back = part._hand_back

        def promoted_meanwhile() -> None:
            pg2.sql("SELECT pg_promote()")
            hand_back()

        monkeypatch.setattr(part, "_hand_back", promoted_meanwhile)
        with armed(pg2) as session:
            done = after_stop(part, session.close).hand_over()
        assert done.outcome == "handed_over"
        assert (pg1.sql("SELECT pg_is_in_recovery()"), pg2.sql("SELECT pg_is_in_recovery()")) == ("t", "f")

    def test_fenced_meanwhile(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        with armed(pg2) as session:

            def fence() -> None:
                pg1.instance.fence_file.write_text("pg2 was promoted")
                session.close()

            with pytest.raises(PgError, match=r"was fenced meanwhile \(pg2 was promoted\)"):
                after_stop(hand_over(pg1, pg2), fence).hand_over()
        assert files(pg1)[0] is True

    def test_a_primary_that_crashes_instead_of_stopping(
        self, pg1: Host, pg2: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_pair(pg1, pg2)
        candidate = take_over(pg2, pg1, timeout=3)
        part = hand_over(pg1, pg2, timeout=8)
        stop = part._stop

        def crash(patient: bool) -> None:
            if patient:
                pg1.kill()
            stop(patient)

        monkeypatch.setattr(part, "_stop", crash)
        pg1.sql("INSERT INTO kept VALUES ('last')")

        thread = self.back(part)
        with pytest.raises(PgError, match=r"not promoted: .*the last record is no shutdown"):
            candidate.result(10)
        thread.join()
        assert "is the primary again" in str(self.error)
        assert is_primary(pg1)
        assert pg1.sql("SELECT count(*) FROM kept WHERE word = 'last'") == "1"

    def test_a_shutdown_that_does_not_end(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        backend = psycopg2.connect(
            host=str(pg1.instance.socket_directory), port=pg1.instance.port, user="postgres", dbname="postgres"
        )
        frozen = backend.info.backend_pid
        os.kill(frozen, signal.SIGSTOP)
        with armed(pg2) as session, pytest.raises(PgError, match="is the primary again"):
            after_stop(hand_over(pg1, pg2, timeout=4, stop_timeout=0.5), session.close).hand_over()
        assert is_primary(pg1)


class TestSilence:
    """The candidate can't be asked any more, after the stop."""

    def silenced(self, pg1: Host, pg2: Host, part: HandOver) -> PgError:
        make_pair(pg1, pg2)
        with armed(pg2), pytest.raises(PgError) as raised:
            after_stop(part, pg2.kill).hand_over()
        return raised.value

    def guard(self, part: HandOver) -> None:
        instance = part.instance
        part.guard_directory.mkdir()
        (part.guard_directory / f"{instance.version}-{instance.cluster}.json").touch()

    def test_without_a_guard_it_stays_a_standby(self, pg1: Host, pg2: Host) -> None:
        error = self.silenced(pg1, pg2, hand_over(pg1, pg2, timeout=1.5))

        assert "couldn't be asked for 1.5 s" in str(error)
        assert "no guard here" in str(error)
        assert pg1.sql("SELECT pg_is_in_recovery()") == "t"
        assert files(pg1)[0] is True

    def test_a_guard_that_lets_it_start(self, pg1: Host, pg2: Host) -> None:
        part = hand_over(pg1, pg2, timeout=1.5)
        self.guard(part)
        error = self.silenced(pg1, pg2, part)

        assert "It let this instance start: it is the primary again" in str(error)
        assert is_primary(pg1)
        assert files(pg1)[2] == "", "the guard is to decide, nobody else"

    def test_a_guard_that_does_not(self, pg1: Host, pg2: Host) -> None:
        part = hand_over(pg1, pg2, timeout=1.5)
        self.guard(part)
        start = pg1.start

        def refuse() -> None:
            if files(pg1)[0]:
                start()
            else:
                held = pg1.instance.state_directory / f"{pg1.instance.version}-{pg1.instance.cluster}.held"
                held.write_text("nobody vouches for it\n")

        part.standby.run.start = refuse  # type: ignore[attr-defined]
        error = self.silenced(pg1, pg2, part)

        assert "doesn't let this instance start as a primary yet: nobody vouches for it" in str(error)
        assert running_postmaster(pg1.instance.data_directory) is None

    def test_a_candidate_that_was_promoted_behind_a_broken_network(self, pg1: Host, pg2: Host) -> None:
        part = hand_over(pg1, pg2, timeout=4)
        make_pair(pg1, pg2)
        candidate = take_over(pg2, pg1)
        ask = part.there.row

        def be_deaf() -> None:
            # Streaming works, asking doesn't.
            part.there.row = lambda sql: ask("SELECT 1 / 0")  # type: ignore[method-assign]

        done = after_stop(part, be_deaf).hand_over()
        assert (done.outcome, done.timeline_after) == ("handed_over", 2)
        assert candidate.result(10).changed


def test_who_holds_a_lock(pg1: Host) -> None:
    for lock in (ARMED, ANNOUNCED):
        count = f"SELECT count(*) {holders_sql(lock)}"
        assert pg1.sql(count) == "0"
        assert pg1.sql(f"SELECT pg_advisory_lock({LOCK_SPACE}, {lock}); {count}") == "1"
        assert pg1.sql(f"SELECT pg_advisory_lock({LOCK_SPACE}, {lock + 7}); {count}") == "0"
        assert pg1.sql(f"SELECT pg_advisory_lock({LOCK_SPACE + 1}, {lock}); {count}") == "0"
