# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import PgError
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_fence_io import processes_on
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import running_postmaster
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_session import (
    Session,
    local_session,
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
from pg_pair import archives, eventually, is_primary, make_pair, peer_of, write_a_segment

if TYPE_CHECKING:
    from .conftest import Host

ARM = f"SELECT pg_try_advisory_lock({LOCK_SPACE}, {ARMED})"
ANNOUNCE = f"SELECT pg_try_advisory_lock_shared({LOCK_SPACE}, {ANNOUNCED})"


def session_on(host: Host) -> Session:
    postmaster = running_postmaster(host.instance.data_directory)
    assert postmaster
    return local_session(host.instance, postmaster, 5)


def take_over(host: Host, peer: Host, timeout: float = 10, timeline: int | None = 1) -> TakeOver:
    return TakeOver(host.instance, host.run, peer_of(peer), timeline, timeout)


class Waiting:
    """A candidate that waits in the background, once it is armed."""

    def __init__(self, candidate: Host, part: TakeOver) -> None:
        self.pool = ThreadPoolExecutor(1)
        self.future: Future[TookOver] = self.pool.submit(part.take_over)
        eventually(lambda: candidate.sql(f"SELECT count(*) {holders_sql(ARMED)}") == "1" or self.future.done())
        self.result = self.future.result


class TestTakeOver:
    def test_a_shutdown_that_was_announced(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        pg1.sql("INSERT INTO kept VALUES ('last')")
        checked = take_over(pg2, pg1).check()
        assert (checked.changed, checked.timeline_before, checked.timeline_after) == (True, 1, None)
        waiting = Waiting(pg2, take_over(pg2, pg1))

        with session_on(pg2) as other:
            other.ask(ANNOUNCE, 5)
            pg1.stop()
            done = waiting.result(10)
        assert (done.changed, done.outcome) == (True, "took_over")
        assert (done.timeline_before, done.timeline_after) == (1, 2)
        print(f"from the proof to the first commit: {done.milliseconds} ms")
        assert is_primary(pg2)
        assert pg2.sql("SELECT count(*) FROM kept WHERE word = 'last'") == "1"
        eventually(lambda: pg2.sql(ARM) == "t")

        again = take_over(pg2, pg1).take_over()
        assert (again.changed, again.outcome, again.timeline_before, again.timeline_after) == (False, "already", 1, 2)
        assert take_over(pg2, pg1).check().outcome == "already"

    def test_a_shutdown_that_archives(self, pg1: Host, pg2: Host) -> None:
        # The shutdown then begins a new segment, so that nothing stands before its record there.
        archive = archives(pg1, pg2)
        make_pair(pg1, pg2)
        written = write_a_segment(pg1)
        waiting = Waiting(pg2, take_over(pg2, pg1))
        with session_on(pg2) as other:
            other.ask(ANNOUNCE, 5)
            pg1.sql("INSERT INTO kept VALUES ('last')")
            pg1.stop()
            assert waiting.result(10).outcome == "took_over"
        # What the old primary couldn't archive the new one does.
        eventually((archive / written).exists)

    def test_a_shutdown_that_nobody_announced(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        waiting = Waiting(pg2, take_over(pg2, pg1, timeout=1.5))
        pg1.stop()

        with pytest.raises(PgError, match=r"not promoted: pg1.*the stream ended, and it never said that it would stop"):
            waiting.result(10)
        assert pg2.sql("SELECT pg_is_in_recovery()") == "t"
        eventually(lambda: pg2.sql(ARM) == "t")

    def test_an_announcement_that_was_taken_back(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        waiting = Waiting(pg2, take_over(pg2, pg1, timeout=2.5))
        with session_on(pg2) as other:
            other.ask(ANNOUNCE, 5)
            time.sleep(0.3)
        time.sleep(0.3)
        pg1.stop()

        with pytest.raises(PgError, match="never said that it would stop"):
            waiting.result(10)

    def test_an_announcement_of_an_earlier_run_that_lingers(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        with session_on(pg2) as other:
            other.ask(ANNOUNCE, 5)
            waiting = Waiting(pg2, take_over(pg2, pg1, timeout=2))
            pg1.stop()
            with pytest.raises(PgError, match="never said that it would stop"):
                waiting.result(10)
        assert pg2.sql("SELECT pg_is_in_recovery()") == "t"

    def test_a_lost_connection_and_a_crash_are_no_shutdown(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        waiting = Waiting(pg2, take_over(pg2, pg1, timeout=3))
        with session_on(pg2) as other:
            other.ask(ANNOUNCE, 5)
            pg1.sql("INSERT INTO kept VALUES ('sent')")
            pg1.kill()
            with pytest.raises(PgError, match=r"the last record is no shutdown: \w+"):
                waiting.result(10)
        assert pg2.sql("SELECT pg_is_in_recovery()") == "t"

    def test_a_connection_that_comes_back_before_the_shutdown(self, pg1: Host, pg2: Host) -> None:
        pg2_conf = pg2.instance.config_directory / "postgresql.conf"
        pg2_conf.write_text(pg2_conf.read_text() + "wal_retrieve_retry_interval = '100ms'\n")
        make_pair(pg1, pg2)
        waiting = Waiting(pg2, take_over(pg2, pg1))
        with session_on(pg2) as other:
            other.ask(ANNOUNCE, 5)
            pg1.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
            time.sleep(0.5)
            assert not waiting.future.done()
            eventually(lambda: pg2.sql("SELECT status FROM pg_stat_wal_receiver") == "streaming")
            pg1.sql("INSERT INTO kept VALUES ('later')")
            pg1.stop()
            assert waiting.result(10).outcome == "took_over"
        assert pg2.sql("SELECT count(*) FROM kept WHERE word = 'later'") == "1"

    def test_the_announcement_breaks_with_the_stream(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        waiting = Waiting(pg2, take_over(pg2, pg1))
        with session_on(pg2) as other:
            other.ask(ANNOUNCE, 5)
            time.sleep(0.2)
            # It is the walsender's last message that ends both.
            stop = threading.Thread(target=pg1.stop)
            stop.start()
            eventually(lambda: pg2.sql("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == "0")
        stop.join()
        assert waiting.result(10).outcome == "took_over"

    def test_promoted_by_somebody_else_meanwhile(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        waiting = Waiting(pg2, take_over(pg2, pg1))
        pg2.sql("SELECT pg_promote()")

        with pytest.raises(PgError, match="promoted by somebody else while it waited"):
            waiting.result(10)

    def test_the_server_is_lost_meanwhile(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        waiting = Waiting(pg2, take_over(pg2, pg1))
        pg2.kill()

        with pytest.raises(PgError, match="not promoted: the server on this host was lost"):
            waiting.result(10)

    def test_an_earlier_run_that_still_waits(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        with session_on(pg2) as other:
            other.ask(ARM, 5)
            with pytest.raises(PgError, match="not promoted: an earlier switchover still works"):
                take_over(pg2, pg1, timeout=0.5).take_over()
            pool = ThreadPoolExecutor(1)
            future = pool.submit(take_over(pg2, pg1).take_over)
            other.ask("SELECT pg_sleep(0.3); SELECT pg_promote()", 10)
        assert future.result(10).outcome == "already"

    def test_a_session_that_was_ended_can_not_promote(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        waiting = Waiting(pg2, take_over(pg2, pg1))
        pg2.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        with session_on(pg2) as other:
            other.ask(ANNOUNCE, 5)
            pg1.stop()
            with pytest.raises(PgError):
                waiting.result(10)
        assert pg2.sql("SELECT pg_is_in_recovery()") == "t"


class TestRefusals:
    def test_nothing_is_armed(self, pg1: Host, pg2: Host, new_host: Callable[[str], Host]) -> None:
        pg3 = new_host("pg3")
        make_pair(pg1, pg2, pg3)
        for part, found in (
            (take_over(pg2, pg1, timeline=2), "on timeline 1, expected timeline 2"),
            (take_over(pg2, pg3), r"streams from pg1:\d+, expected pg3"),
            (take_over(pg1, pg2), "is a primary on timeline 1, expected a standby of pg2"),
        ):
            with pytest.raises(PgError, match=found):
                part.take_over()
            with pytest.raises(PgError, match=found):
                part.check()
        assert pg2.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"

    def test_a_server_that_does_not_run(self, pg1: Host, pg2: Host) -> None:
        with pytest.raises(PgError, match="is absent, expected a running one"):
            take_over(pg2, pg1).take_over()


def startup_process(host: Host) -> int:
    for pid in processes_on(host.instance.data_directory, "unit"):
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            if ": startup" in file.read():
                return pid
    raise AssertionError("no startup process")


def test_a_promotion_under_way_stays_armed_when_its_client_dies(pg1: Host, pg2: Host) -> None:
    make_pair(pg1, pg2)
    startup = startup_process(pg2)
    session = session_on(pg2)
    assert session.value(ARM, 5) is True
    os.kill(startup, signal.SIGSTOP)
    try:
        session.send("SELECT pg_promote(true, 86400)")
        time.sleep(0.3)
        session.close()
        time.sleep(0.5)
        # So nobody takes the standby for one that gave up.
        assert pg2.sql(ARM) == "f"
        assert pg2.sql("SELECT pg_is_in_recovery()") == "t"
    finally:
        os.kill(startup, signal.SIGCONT)
    eventually(lambda: pg2.sql("SELECT pg_is_in_recovery()") == "f")
    eventually(lambda: pg2.sql(ARM) == "t")
