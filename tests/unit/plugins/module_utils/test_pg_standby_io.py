# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    PgError,
    State,
    Upstream,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import observe
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_io import (
    Standby,
    as_diff,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_steps import (
    Replication,
    StandbyAction,
    Wanted,
)

if TYPE_CHECKING:
    from .conftest import Host


def standby_of(
    host: Host,
    upstream: Host,
    action: str = "clone",
    timeout: int = 20,
    system_identifier: str | None = None,
) -> Standby:
    name = host.instance.cluster
    replication = Replication(
        Upstream("localhost", "127.0.0.1", upstream.instance.port, name),
        "replication",
        name,
        sslmode="disable",
    )
    wanted = Wanted(StandbyAction(action), replication, system_identifier)
    return Standby(host.instance, wanted, "unit", host.run, timeout=timeout)


def make(standby: Standby) -> list[str]:
    """Plan and apply; the actions taken."""
    with standby.exclusive():
        plan = standby.plan()
        seen = standby.apply(plan.steps)
    assert seen.state is State.STANDBY
    assert seen.streaming
    return plan.actions


def eventually(host: Host, sql: str, expected: str) -> None:
    deadline = time.monotonic() + 10
    while host.sql(sql) != expected:
        assert time.monotonic() < deadline, f"{sql}: {host.sql(sql)!r}, expected {expected!r}"
        time.sleep(0.1)


class TestStandby:
    def test_clone_then_nothing_then_write_there_and_read_here(self, pg1: Host, pg2: Host) -> None:
        standby = standby_of(pg2, pg1)

        rehearsed = standby.plan(may_guess=True)
        assert observe(pg2.instance, pg2.run).state is State.ABSENT
        assert pg1.sql("SELECT count(*) FROM pg_replication_slots") == "0"
        assert not pg2.instance.standby_conf.exists()

        assert make(standby) == rehearsed.actions
        assert rehearsed.actions == ["create_slot", "copy", "configure", "enable", "start"]
        pg1.sql("INSERT INTO kept VALUES ('after')")
        eventually(pg2, "SELECT string_agg(word, ' ') FROM kept", "before after")
        assert make(standby) == []
        assert as_diff(standby, standby.plan()) == []

        seen = observe(pg1.instance, pg1.run)
        (client,) = seen.replication
        assert (client.name, client.state) == ("pg2", "streaming")
        assert [(slot.name, slot.active) for slot in seen.slots] == [("pg2", True)]
        mode = pg2.instance.standby_conf.stat().st_mode & 0o777
        assert (pg2.instance.standby_conf.owner(), mode) == ("postgres", 0o640)

    def test_a_standby_stopped_by_somebody_is_started(self, pg1: Host, pg2: Host) -> None:
        standby = standby_of(pg2, pg1)
        make(standby)
        pg2.stop()
        stopped = observe(pg2.instance, pg2.run)

        assert (stopped.state, stopped.is_standby) == (State.STOPPED, True)
        assert stopped.upstream == standby.wanted.upstream
        assert make(standby_of(pg2, pg1, "follow")) == ["start"]

    def test_an_interrupted_clone_is_made_again(self, pg1: Host, pg2: Host) -> None:
        pg2.instance.staging.mkdir()
        (pg2.instance.staging / "half").touch()
        shutil.chown(pg2.instance.staging, "postgres")

        assert observe(pg2.instance, pg2.run).clone_in_progress
        assert make(standby_of(pg2, pg1))[:3] == [
            "create_slot",
            "discard_left_over",
            "copy",
        ]
        assert not observe(pg2.instance, pg2.run).clone_in_progress

    @pytest.mark.parametrize("last", ["create_slot", "copy", "configure", "enable", "start"])
    def test_interrupted_after_any_step_a_second_run_finishes(self, pg1: Host, pg2: Host, last: str) -> None:
        standby = standby_of(pg2, pg1)
        steps = standby.plan().steps
        done = [step.value for step in steps].index(last) + 1
        standby.apply(steps[:done])

        make(standby)
        assert pg2.sql("SELECT word FROM kept") == "before"

    def test_a_copy_that_outlived_its_run_is_not_disturbed(self, pg1: Host, pg2: Host) -> None:
        pg2.instance.staging.mkdir()
        argv = ["flock", "--no-fork", str(pg2.instance.staging), "sleep", "30"]
        with subprocess.Popen(argv) as orphan:
            time.sleep(0.3)
            with (
                pytest.raises(PgError, match="an earlier run still works"),
                standby_of(pg2, pg1, timeout=1).exclusive(),
            ):
                pytest.fail("it must not get here")
            orphan.kill()

    def test_a_new_upstream_after_a_promotion(self, pg1: Host, pg2: Host, new_host: Callable[[str], Host]) -> None:
        make(standby_of(pg2, pg1))
        pg3 = new_host("pg3")
        make(standby_of(pg3, pg1))
        pg1.kill()
        pg2.sql("SELECT pg_promote()")
        promoted = observe(pg2.instance, pg2.run)
        assert (promoted.state, promoted.timeline) == (State.PRIMARY, 2)
        assert [switch.timeline for switch in promoted.timeline_history] == [1]
        # The old settings file is still there, and harmless.
        with pytest.raises(PgError, match=r"running primary on timeline 2.*rejoin.yml"):
            standby_of(pg2, pg1, "follow").plan(may_guess=True)

        lost = observe(pg3.instance, pg3.run)
        assert (lost.state, lost.streaming, lost.timeline) == (State.STANDBY, False, 1)
        moved = make(standby_of(pg3, pg2, "follow"))

        assert moved == ["create_slot", "configure", "reload"]
        pg2.sql("INSERT INTO kept VALUES ('after')")
        eventually(pg3, "SELECT string_agg(word, ' ') FROM kept", "before after")
        assert observe(pg3.instance, pg3.run).timeline == 2
        os.kill(pg2.pid, signal.SIGKILL)
        time.sleep(0.5)
        assert observe(pg3.instance, pg3.run).timeline == 2, "its own files remember it"

    def test_what_the_copied_instance_would_have_overridden(self, pg1: Host, pg2: Host) -> None:
        pg1.sql("ALTER SYSTEM SET primary_conninfo = 'host=elsewhere'")
        pg1.sql("ALTER SYSTEM SET work_mem = '5MB'")
        make(standby_of(pg2, pg1))

        assert pg2.sql("SHOW work_mem") == "5MB"
        pg2.sql("ALTER SYSTEM SET primary_conninfo = 'host=elsewhere'")
        assert make(standby_of(pg2, pg1, "follow")) == ["configure", "reload"]


class TestRefusals:
    def test_a_data_directory_of_another_cluster(self, pg1: Host, pg2: Host) -> None:
        pg2.initdb()
        (pg2.instance.data_directory / "standby.signal").touch()
        before = observe(pg2.instance, pg2.run)
        standby = standby_of(pg2, pg1)

        with pytest.raises(PgError, match=r"belongs to another cluster. Nothing was changed"):
            make(standby)
        assert observe(pg2.instance, pg2.run) == before
        assert pg1.sql("SELECT count(*) FROM pg_replication_slots") == "0"

    def test_an_upstream_of_another_cluster(self, pg1: Host, pg2: Host) -> None:
        with pytest.raises(PgError, match=r"has system identifier \d+, expected 42"):
            make(standby_of(pg2, pg1, system_identifier="42"))

    def test_a_running_primary(self, pg1: Host) -> None:
        with pytest.raises(PgError, match="belongs to a running primary"):
            make(standby_of(pg1, pg1))

    def test_following_without_a_database(self, pg1: Host, pg2: Host) -> None:
        with pytest.raises(PgError, match=r"holds no database.*use action=clone"):
            make(standby_of(pg2, pg1, "follow"))

    def test_an_upstream_that_is_down(self, pg1: Host, pg2: Host) -> None:
        pg1.stop()
        standby = standby_of(pg2, pg1)

        with pytest.raises(PgError, match=r"localhost:\d+ can't be asked as replication.*refused"):
            make(standby)
        rehearsed = standby.plan(may_guess=True)
        assert rehearsed.actions == ["copy", "configure", "enable", "start"]
        assert "can't be asked" in rehearsed.warnings[0]

    def test_a_server_that_does_not_start_shows_its_last_words(self, pg1: Host, pg2: Host) -> None:
        make(standby_of(pg2, pg1))
        pg2.stop()
        pg2.broken = True

        with pytest.raises(PgError, match=r"didn't start(?s:.)*database system is shut down"):
            make(standby_of(pg2, pg1, "follow"))

    def test_a_standby_that_cannot_stream_shows_why(self, pg1: Host, pg2: Host) -> None:
        standby = standby_of(pg2, pg1, timeout=2)
        make(standby)
        pg2.stop()
        pg1.sql("SELECT pg_drop_replication_slot('pg2')")
        standby = standby_of(pg2, pg1, "follow", timeout=2)
        steps = [step for step in standby.plan().steps if step.value != "create_slot"]

        with pytest.raises(PgError, match=r"doesn't stream from (?s:.)*slot \"pg2\" does not exist"):
            standby.apply(steps)
