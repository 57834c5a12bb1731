# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    PgError,
    State,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import observe

if TYPE_CHECKING:
    from .conftest import Host


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
