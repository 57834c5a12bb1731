# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    PgError,
    State,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import observe, version_there

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Host


def copy_of(source: Host, target: Host, **settings: str) -> None:
    """Make ``target`` a running standby of ``source``; settings as in its settings file."""
    data = str(target.instance.data_directory)
    where = f"host=127.0.0.1 port={source.instance.port} user=replication"
    target.pg("pg_basebackup", "-D", data, "-d", where, "-c", "fast", "--no-sync")
    told = {"primary_conninfo": where, **settings}
    lines = [f"{name} = '{value}'" for name, value in told.items()]
    target.instance.standby_conf.write_text("\n".join(lines) + "\n")
    (target.instance.data_directory / "standby.signal").touch()
    target.start()


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class TestObserve:
    def test_nothing_there(self, pg2: Host) -> None:
        seen = observe(pg2.instance, pg2.run)

        assert seen.state is State.ABSENT
        assert not pg2.commands, "nothing may be asked: nothing may be installed yet"

    def test_an_empty_data_directory(self, pg2: Host) -> None:
        pg2.instance.data_directory.mkdir()

        assert observe(pg2.instance, pg2.run).state is State.ABSENT

    def test_a_directory_with_something_else(self, pg2: Host) -> None:
        pg2.instance.data_directory.mkdir()
        (pg2.instance.data_directory / "photos").touch()

        with pytest.raises(PgError, match="not empty, but holds no whole PostgreSQL database"):
            observe(pg2.instance, pg2.run)

    def test_a_primary_through_its_life(self, pg1: Host) -> None:
        live = observe(replace(pg1.instance, port=1), pg1.run)
        assert (live.state, live.timeline, live.accepts_connections) == (State.PRIMARY, 1, True)
        assert live.port == pg1.instance.port
        assert live.version == pg1.instance.version
        assert live.lsn_exact
        assert live.current_lsn
        assert live.upstream is None
        assert live.timeline_history == ()

        os.kill(pg1.pid, signal.SIGSTOP)
        started = time.monotonic()
        frozen = observe(pg1.instance, pg1.run)
        assert time.monotonic() - started < pg1.instance.timeout + 1.5
        assert (frozen.state, frozen.accepts_connections) == (State.PRIMARY, False)
        assert frozen.system_identifier == live.system_identifier
        assert not frozen.lsn_exact
        os.kill(pg1.pid, signal.SIGCONT)

        pg1.stop()
        stopped = observe(pg1.instance, pg1.run)
        assert (stopped.state, stopped.clean_shutdown) == (State.STOPPED, True)
        assert stopped.is_stopped_primary
        assert stopped.current_lsn
        assert stopped.current_lsn >= live.current_lsn

        pg1.start()
        pg1.kill()
        crashed = observe(pg1.instance, pg1.run)
        assert (crashed.state, crashed.clean_shutdown) == (State.STOPPED, False)

    def test_a_process_that_took_over_the_number_of_a_dead_server(self, pg1: Host) -> None:
        pid_file = pg1.instance.data_directory / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pg1.stop()
        pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))

        assert observe(pg1.instance, pg1.run).state is State.STOPPED

    def test_a_fence_and_its_reason(self, pg1: Host) -> None:
        pg1.instance.fence_file.write_text("pg2 was promoted\n")
        seen = observe(pg1.instance, pg1.run)

        assert (seen.fenced, seen.fenced_reason) == (True, "pg2 was promoted")

    def test_what_the_guard_decided_fences_a_stopped_primary(self, pg1: Host) -> None:
        pg1.instance.held_file.write_text("no standby vouches for it\n")
        assert not observe(pg1.instance, pg1.run).fenced, "it runs, so the file is left over"

        pg1.stop()
        held = observe(pg1.instance, pg1.run)
        assert (held.fenced, held.held, held.fenced_reason) == (True, True, "no standby vouches for it")
        assert not held.has_fence_marker

        pg1.instance.fence_file.write_text("pg2 was promoted\n")
        marked = observe(pg1.instance, pg1.run)
        assert (marked.fenced, marked.held, marked.fenced_reason) == (True, False, "pg2 was promoted")
        pg1.instance.fence_file.unlink()

        (pg1.instance.data_directory / "standby.signal").touch()
        assert not observe(pg1.instance, pg1.run).fenced, "it would start as a standby"

    def test_a_primary_about_to_hand_over_is_a_primary(self, pg1: Host) -> None:
        (pg1.instance.data_directory / "standby.signal").touch()
        assert observe(pg1.instance, pg1.run).state is State.PRIMARY

        os.kill(pg1.pid, signal.SIGSTOP)
        frozen = observe(pg1.instance, pg1.run)
        os.kill(pg1.pid, signal.SIGCONT)
        assert (frozen.state, frozen.accepts_connections) == (State.PRIMARY, False)

        pg1.stop()
        stopped = observe(pg1.instance, pg1.run)
        assert (stopped.is_standby, stopped.clean_shutdown) == (True, True)

    def test_where_the_wal_begins_that_a_primary_has(self, pg1: Host) -> None:
        first = observe(pg1.instance, pg1.run).oldest_lsn
        assert first is not None
        assert first % (16 * 1024**2) == 0
        for _ in range(3):
            pg1.sql("SELECT pg_switch_wal()")
            pg1.sql("CHECKPOINT")

        now = observe(pg1.instance, pg1.run)
        assert now.oldest_lsn is not None
        assert now.current_lsn is not None
        assert first < now.oldest_lsn <= now.current_lsn

    def test_a_restarted_standby_is_exact_once_it_replayed_what_it_has(self, pg1: Host, pg2: Host) -> None:
        copy_of(pg1, pg2)
        pg1.sql("INSERT INTO kept VALUES ('seen')")
        wait_for(lambda: pg2.sql("SELECT count(*) FROM kept") == "2")
        streaming = observe(pg2.instance, pg2.run)
        assert (streaming.state, streaming.lsn_exact, streaming.oldest_lsn) == (State.STANDBY, True, None)

        # What comes now is received and not replayed before it is stopped.
        pg2.sql("SELECT pg_wal_replay_pause()")
        pg1.sql("INSERT INTO kept VALUES ('only received')")
        end = observe(pg1.instance, pg1.run).position
        wait_for(lambda: observe(pg2.instance, pg2.run).position >= end)
        pg2.stop("immediate")
        pg1.stop("immediate")
        pg2.instance.standby_conf.write_text(
            pg2.instance.standby_conf.read_text() + "recovery_min_apply_delay = '1h'\n"
        )
        pg2.start()
        behind = observe(pg2.instance, pg2.run)
        assert behind.accepts_connections
        assert behind.position < end
        assert not behind.lsn_exact

        pg2.sql("ALTER SYSTEM SET recovery_min_apply_delay = 0")
        pg2.sql("SELECT pg_reload_conf()")
        wait_for(lambda: observe(pg2.instance, pg2.run).lsn_exact)
        assert observe(pg2.instance, pg2.run).position >= end

    def test_a_standby_of_nobody_is_exact(self, pg1: Host, pg2: Host) -> None:
        copy_of(pg1, pg2, primary_conninfo="")

        wait_for(lambda: observe(pg2.instance, pg2.run).lsn_exact)
        assert pg2.sql("SELECT pg_last_wal_receive_lsn() IS NULL") == "t"

    def test_a_standby_whose_signal_was_taken_away_was_not_stopped_as_a_primary(self, pg1: Host, pg2: Host) -> None:
        copy_of(pg1, pg2)
        pg2.stop()
        assert observe(pg2.instance, pg2.run).clean_shutdown
        (pg2.instance.data_directory / "standby.signal").unlink()

        assert observe(pg2.instance, pg2.run).clean_shutdown is False

    def test_a_corrupt_control_file(self, pg1: Host) -> None:
        pg1.stop()
        control = pg1.instance.data_directory / "global" / "pg_control"
        content = bytearray(control.read_bytes())
        content[40] ^= 0xFF
        control.write_bytes(content)

        with pytest.raises(PgError, match=r"pg_control can't be trusted.*Restore the instance"):
            observe(pg1.instance, pg1.run)

    def test_a_superuser_who_is_not_let_in(self, pg1: Host) -> None:
        (pg1.instance.config_directory / "pg_hba.conf").write_text("local all all reject\n")
        os.kill(pg1.pid, signal.SIGHUP)
        time.sleep(0.3)

        with pytest.raises(PgError, match=r"doesn't let the user postgres in.*local all postgres"):
            observe(pg1.instance, pg1.run)


class TestVersionThere:
    """Without being told, as failover.yml which gathers no facts."""

    def test_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "17" / "main").mkdir(parents=True)
        (tmp_path / "notes").mkdir()

        assert version_there("main", tmp_path) is None

    def test_the_latest_with_data(self, tmp_path: Path) -> None:
        for version in ("9", "15", "17"):
            (tmp_path / version / "main" / "base").mkdir(parents=True)
        (tmp_path / "18" / "main").mkdir(parents=True)
        (tmp_path / "19" / "main.cloning" / "base").mkdir(parents=True)
        (tmp_path / "20" / "other" / "base").mkdir(parents=True)

        assert version_there("main", tmp_path) == 17

    def test_the_left_over_of_a_clone(self, tmp_path: Path) -> None:
        (tmp_path / "17" / "main.cloning" / "base").mkdir(parents=True)

        assert version_there("main", tmp_path) == 17

    def test_what_runs_counts_more_than_what_is_later(self, pg1: Host, tmp_path: Path) -> None:
        (tmp_path / "99" / "main" / "base").mkdir(parents=True)
        (tmp_path / str(pg1.instance.version)).mkdir()
        (tmp_path / str(pg1.instance.version) / "main").symlink_to(pg1.instance.data_directory)

        assert version_there("main", tmp_path) == pg1.instance.version
