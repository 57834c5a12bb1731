# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils import pg_promote_io
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import PgError
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_io import (
    Promotion,
    ask_peer,
    synchronous_write,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_steps import Peer
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_session import local_session
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_switchover_steps import ARMED, LOCK_SPACE
from pg_pair import ACCESS, archives, counted_as_archived, eventually, is_primary, make_pair, peer_of, write_a_segment

if TYPE_CHECKING:
    from .conftest import Host


def promotion(host: Host, *peers: Peer, timeline: int | None = None) -> Promotion:
    return Promotion(host.instance, timeline, peers, ACCESS, timeout=20)


class TestPromotion:
    def test_a_rehearsal_then_a_promotion_then_nothing(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        pg1.kill()

        rehearsed, _answers, _warnings = promotion(pg2, peer_of(pg1), timeline=2).run(only_check=True)
        assert (rehearsed.changed, rehearsed.timeline_before, rehearsed.timeline_after) == (True, 1, 2)
        assert pg2.sql("SELECT pg_is_in_recovery()") == "t"

        done, answers, warnings = promotion(pg2, peer_of(pg1), timeline=2).run()
        print(f"promotion with its first commit: {done.milliseconds} ms")
        assert (done.changed, done.timeline_before, done.timeline_after) == (True, 1, 2)
        assert done.milliseconds is not None
        assert done.lsn > rehearsed.lsn
        assert "refused" in str(answers["pg1"].error)
        assert list(warnings) == []
        assert is_primary(pg2)
        assert pg2.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "1", "it left a table behind"

        again, _answers, _warnings = promotion(pg2, peer_of(pg1), timeline=2).run()
        assert (again.changed, again.timeline_before, again.timeline_after) == (False, 2, 2)
        assert again.milliseconds is None
        assert again.lsn > done.lsn, "it was to write"
        with pytest.raises(PgError, match=r"is a primary already, on timeline 2, expected timeline 3"):
            promotion(pg2, timeline=3).run()

    def test_it_archives_what_the_lost_primary_had_not(self, pg1: Host, pg2: Host) -> None:
        archive = archives(pg1, pg2)
        make_pair(pg1, pg2)
        segments = [write_a_segment(pg1) for _ in range(2)]
        eventually(lambda: set(segments) <= counted_as_archived(pg2))
        pg1.kill()
        assert list(archive.iterdir()) == []

        promotion(pg2, peer_of(pg1), timeline=2).run()
        eventually(lambda: set(segments) <= {path.name for path in archive.iterdir()})

    def test_a_switchover_that_runs_on_is_waited_for(
        self, pg1: Host, pg2: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_pair(pg1, pg2)
        pg1.kill()
        monkeypatch.setattr(pg_promote_io, "CLAIM", 0.3)
        with local_session(pg2.instance, pg_promote_io.postmaster_of(pg2.instance), 5) as other:
            assert other.value(f"SELECT pg_try_advisory_lock({LOCK_SPACE}, {ARMED})", 5)
            with pytest.raises(PgError, match="a switchover to this host is under way"):
                promotion(pg2).run()
            assert pg2.sql("SELECT pg_is_in_recovery()") == "t"
        assert promotion(pg2).run()[0].changed

    def test_a_primary_that_is_reachable_and_writable(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)

        with pytest.raises(PgError, match=r"pg1 is still reachable and writable.*on timeline 1 at 0/[0-9A-F]+"):
            promotion(pg2, peer_of(pg1)).run()
        assert pg2.sql("SELECT pg_is_in_recovery()") == "t"

    def test_a_standby_is_no_rival(self, pg1: Host, pg2: Host, new_host: Callable[[str], Host]) -> None:
        pg3 = new_host("pg3")
        make_pair(pg1, pg2, pg3)
        pg1.kill()

        done, answers, _warnings = promotion(pg2, peer_of(pg1), peer_of(pg3)).run()
        assert done.changed
        assert answers["pg3"].in_recovery is True

    def test_a_frozen_peer_does_not_hold_it_up_for_long(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        os.kill(pg1.pid, signal.SIGSTOP)
        began = time.monotonic()

        done, answers, warnings = promotion(pg2, peer_of(pg1)).run()
        assert time.monotonic() - began < 4
        assert done.changed
        assert answers["pg1"].reachable
        assert "pg1 is reachable, but didn't say whether it is a primary" in warnings[0]

    def test_a_paused_replay(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        pg2.sql("SELECT pg_wal_replay_pause()")

        with pytest.raises(PgError, match=r"replay is paused.*pg_wal_replay_resume\(\)"):
            promotion(pg2).run()
        assert pg2.sql("SELECT pg_is_in_recovery()") == "t"

    def test_a_fenced_instance(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        pg2.instance.fence_file.write_text("pg3 was promoted\n")

        with pytest.raises(PgError, match=r"is fenced \(pg3 was promoted\)"):
            promotion(pg2).run()

    def test_nothing_that_runs(self, pg1: Host, pg2: Host) -> None:
        with pytest.raises(PgError, match="is absent, expected a running one"):
            promotion(pg2).run()
        pg1.stop()
        with pytest.raises(PgError, match="is stopped, expected a running one"):
            promotion(pg1).run()

    def test_the_timeline_that_is_received_but_in_no_control_file_yet(
        self, pg1: Host, pg2: Host, new_host: Callable[[str], Host]
    ) -> None:
        pg3 = new_host("pg3")
        make_pair(pg1, pg2, pg3)
        pg1.kill()
        promotion(pg2).run()
        pg3.sql("ALTER SYSTEM SET primary_slot_name = ''")
        pg3.sql(f"ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port={pg2.instance.port} user=replication'")
        pg3.sql("SELECT pg_reload_conf()")
        # The timeline is told as soon as it is asked for; its history is there once it streams.
        eventually(lambda: pg3.sql("SELECT status, received_tli FROM pg_stat_wal_receiver") == "streaming|2")
        pg2.kill()
        eventually(lambda: pg3.sql("SELECT count(*) FROM pg_stat_wal_receiver") == "0")

        with pytest.raises(PgError, match="on timeline 2 already, expected that its promotion leads to timeline 2"):
            promotion(pg3, timeline=2).run()
        done, _answers, _warnings = promotion(pg3, timeline=3).run()
        assert (done.timeline_before, done.timeline_after) == (2, 3)


class TestSynchronousWrite:
    def test_none_is_configured(self, pg1: Host) -> None:
        assert synchronous_write(pg1.instance, 5)["ok"] is True

    def test_a_standby_that_never_acknowledges(self, pg1: Host) -> None:
        pg1.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (pg2)'")
        pg1.sql("SELECT pg_reload_conf()")
        eventually(lambda: pg1.sql("SHOW synchronous_standby_names") != "")

        result = synchronous_write(pg1.instance, 0.3)
        assert result["ok"] is False
        assert 250 < result["milliseconds"] < 3000
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        eventually(lambda: pg1.sql(waiting) == "0")
        done, _answers, _warnings = promotion(pg1).run()
        assert done.changed is False, "the local write must not wait for a standby"

    def test_a_standby_that_acknowledges(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        pg1.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (pg2)'")
        pg1.sql("SELECT pg_reload_conf()")
        eventually(lambda: pg1.sql("SHOW synchronous_standby_names") != "")

        assert synchronous_write(pg1.instance, 5)["ok"] is True

    def test_nothing_runs(self, pg2: Host) -> None:
        with pytest.raises(PgError, match="absent"):
            synchronous_write(pg2.instance, 0.3)


class TestAskPeer:
    def test_a_host_that_takes_no_connection(self) -> None:
        with socket.socket() as full:
            # Its queue is full, so that it looks like a host that is off.
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)), socket.socket() as second:
                second.setblocking(False)
                second.connect_ex(("127.0.0.1", port))
                began = time.monotonic()
                answer = ask_peer(Peer("pg1", "127.0.0.1", port), ACCESS, 0.2)
                assert time.monotonic() - began < 1
        assert (answer.in_recovery, answer.reachable) == (None, False)

    def test_a_server_that_does_not_let_it_in(self, pg1: Host) -> None:
        answer = ask_peer(peer_of(pg1), replace(ACCESS, user="stranger"), 0.5)

        assert (answer.in_recovery, answer.reachable) == (None, True)
        assert "pg_hba.conf" in str(answer.error)
