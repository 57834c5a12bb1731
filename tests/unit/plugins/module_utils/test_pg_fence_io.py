# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import PgError
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_fence_io import (
    Fence,
    processes_on,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import running_postmaster
from pg_pair import Systemd, eventually, make_pair

if TYPE_CHECKING:
    from .conftest import Host


def fence_of(host: Host, grace: float = 2.0) -> Fence:
    return Fence(host.instance, "unit", Systemd(host), grace)


def make(fence: Fence, reason: str = "pg2 was promoted") -> bool:
    looked = fence.look()
    fence.refuse_standby(looked)
    return fence.raise_fence(looked, reason)


class TestFence:
    def test_a_running_primary(self, pg1: Host) -> None:
        children = processes_on(pg1.instance.data_directory, "unit")
        assert pg1.pid in children
        assert len(children) > 3
        fence = fence_of(pg1)
        assert fence.look().was == "running"
        began = time.monotonic()

        assert make(fence) is True
        print(f"fenced within {(time.monotonic() - began) * 1000:.0f} ms")
        assert time.monotonic() - began < 2
        assert processes_on(pg1.instance.data_directory, "unit") == set()
        assert fence.look().was == "stopped"
        status = pg1.instance.fence_file.stat()
        assert pg1.instance.fence_file.read_text() == "pg2 was promoted\n"
        assert (pg1.instance.fence_file.owner(), status.st_mode & 0o777) == ("postgres", 0o644)

        assert make(fence) is False
        assert pg1.instance.fence_file.stat().st_mtime_ns == status.st_mtime_ns
        pg1.start()
        assert make(fence) is True, "one that was started by force is stopped again"

    def test_a_frozen_postmaster_is_not_waited_for(self, pg1: Host) -> None:
        os.kill(pg1.pid, signal.SIGSTOP)
        began = time.monotonic()

        assert make(fence_of(pg1, grace=30)) is True
        assert time.monotonic() - began < 3
        assert processes_on(pg1.instance.data_directory, "unit") == set()

    def test_a_frozen_backend_is_killed_after_the_grace(self, pg1: Host) -> None:
        backend = max(processes_on(pg1.instance.data_directory, "unit") - {pg1.pid})
        os.kill(backend, signal.SIGSTOP)
        began = time.monotonic()

        assert make(fence_of(pg1, grace=0.5)) is True
        assert time.monotonic() - began < 3
        assert processes_on(pg1.instance.data_directory, "unit") == set()

    def test_backends_that_outlived_their_postmaster(self, pg1: Host) -> None:
        backend = max(processes_on(pg1.instance.data_directory, "unit") - {pg1.pid})
        os.kill(backend, signal.SIGSTOP)
        os.kill(pg1.pid, signal.SIGKILL)
        time.sleep(0.5)
        assert running_postmaster(pg1.instance.data_directory) is None
        assert processes_on(pg1.instance.data_directory, "unit") == {backend}

        assert make(fence_of(pg1)) is True
        assert processes_on(pg1.instance.data_directory, "unit") == set()

    def test_root_may_not_see_where_others_work(self, pg1: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        directory = pg1.instance.data_directory
        backend = max(processes_on(directory, "unit") - {pg1.pid})
        group = Path(f"/proc/{backend}/cgroup").read_text().splitlines()[0].rpartition("/")[2]
        everything = processes_on(directory, "unit")

        def denied(path: str) -> str:
            raise PermissionError(path)

        # Debian names the directory on the command line.
        monkeypatch.setattr("os.readlink", denied)
        assert processes_on(directory, "unit") == everything
        os.kill(backend, signal.SIGSTOP)
        os.kill(pg1.pid, signal.SIGKILL)
        eventually(lambda: processes_on(directory, "unit") == set())
        assert backend in processes_on(directory, group), "only its control group tells"
        monkeypatch.undo()
        os.kill(backend, signal.SIGKILL)

    def test_the_marker_comes_first_and_systemd_is_told(self, pg1: Host) -> None:
        systemd = Systemd(pg1)
        seen: list[tuple[str, bool]] = []

        def run(argv: list[str]) -> tuple[int, str, str]:
            seen.append((argv[3], pg1.instance.fence_file.exists()))
            return systemd(argv)

        os.kill(pg1.pid, signal.SIGSTOP)
        make(Fence(pg1.instance, "unit", run))
        assert seen == [("stop", True), ("kill", True), ("stop", True)]

    def test_one_that_systemd_starts_again_at_that_moment(self, pg1: Host) -> None:
        systemd = Systemd(pg1)

        def run(argv: list[str]) -> tuple[int, str, str]:
            if "stop" in argv and systemd.verbs.count("stop") == 0:
                eventually(lambda: not processes_on(pg1.instance.data_directory, "unit"))
                pg1.start()
            return systemd(argv)

        assert make(Fence(pg1.instance, "unit", run)) is True
        assert processes_on(pg1.instance.data_directory, "unit") == set()

    def test_what_can_not_be_killed_is_no_success(self, pg1: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.kill", lambda pid, number: None)
        monkeypatch.setattr("ansible_collections.renfo.redundancy.plugins.module_utils.pg_fence_io.KILLED", 0.1)
        with pytest.raises(PgError, match=rf"still run on .*{pg1.pid}.*it is NOT fenced"):
            make(fence_of(pg1, grace=0.1))
        monkeypatch.undo()

    def test_a_standby(self, pg1: Host, pg2: Host) -> None:
        make_pair(pg1, pg2)
        fence = fence_of(pg2)

        for state in ("running", "stopped"):
            with pytest.raises(PgError, match="belongs to a standby, expected a primary"):
                make(fence)
            assert not pg2.instance.fence_file.exists()
            assert fence.look().was == state
            if state == "running":
                pg2.stop()

    def test_a_primary_that_was_about_to_be_handed_over(self, pg1: Host) -> None:
        (pg1.instance.data_directory / "standby.signal").touch()

        assert make(fence_of(pg1)) is True

    def test_nothing_there(self, pg2: Host) -> None:
        fence = fence_of(pg2)

        assert fence.look().was == "absent"
        assert make(fence) is False
        assert pg2.instance.fence_file.exists()
        assert pg2.commands == []

    def test_a_stopped_primary_is_only_marked(self, pg1: Host) -> None:
        pg1.stop()
        fence = fence_of(pg1)

        assert make(fence) is False
        assert fence.look().marker == "pg2 was promoted"

    def test_a_start_that_a_guard_is_about_to_allow_is_called_off(self, pg1: Host) -> None:
        """It read no marker, and there is no process to be seen yet."""
        pg1.stop()
        systemd = Systemd(pg1)

        assert make(Fence(pg1.instance, "unit", systemd)) is False
        assert systemd.verbs == ["stop"]

    def test_lifted_and_lifted_again(self, pg1: Host) -> None:
        fence = fence_of(pg1)
        make(fence)
        fence.lift()
        assert fence.look().marker is None
        fence.lift()
