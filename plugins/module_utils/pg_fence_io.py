# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fence this host's primary: mark it, then make sure that nothing runs on its data directory."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    PgError,
    State,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import (
    Instance,
    Runner,
    is_empty,
    one_line,
    read_text,
    running_postmaster,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_io import (
    write_atomically,
)

POLL = 0.01  # seconds between two looks at processes that are to end
SYSTEMD = "3"  # seconds that systemd has for an answer
KILLED = 5.0  # seconds within which what was killed must be gone
# What pg_controldata calls a server that writes, and one that is about to or was just before.
WRITES = ("in production", "shutting down", "in crash recovery")


@dataclass(frozen=True)
class Looked:
    """The instance and its marker as they were. ``was``: stopped and absent, or running."""

    was: str
    marker: str | None


@dataclass(frozen=True)
class Fence:
    """The fence of one instance. ``grace``: seconds that an immediate shutdown may take."""

    instance: Instance
    unit: str
    run: Runner
    grace: float = 2.0

    def look(self) -> Looked:
        """What is there now."""
        directory = self.instance.data_directory
        marker = read_text(self.instance.fence_file) if self.instance.fence_file.exists() else None
        if is_empty(directory):
            return Looked(State.ABSENT.value, marker)
        return Looked("running" if self._processes() else State.STOPPED.value, marker)

    def refuse_standby(self, looked: Looked) -> None:
        """PgError if this is a standby: it accepts no writes, and its data may be needed."""
        directory = self.instance.data_directory
        if looked.was == State.ABSENT.value or not (directory / "standby.signal").exists():
            return
        # A primary that was about to be handed over has the file too, while it runs.
        if looked.was == "running" and self._control_state() in WRITES:
            return
        raise PgError(
            f"{directory} belongs to a standby, expected a primary: a standby accepts no writes, so there is nothing "
            "to fence. Nothing was changed. Run status.yml to see which is the primary",
            state=State.STANDBY.value,
        )

    def raise_fence(self, looked: Looked, reason: str) -> bool:
        """Mark, then stop; whether anything was stopped. PgError if something still runs."""
        if looked.marker != reason.strip():
            # First of all: from here on nobody starts it, whatever becomes of this process.
            write_atomically(self.instance.fence_file, reason.strip() + "\n", 0o644)
        # Again and again, for systemd may have been about to start it when the marker was written.
        stopped = False
        for _attempt in range(3 if looked.was != State.ABSENT.value else 0):
            if self._processes():
                stopped = True
                self._stop()
            # Where nothing runs, too: a guard that allows a start in this moment may not have seen the marker.
            self._systemctl("stop")
            if not self._processes():
                break
        self._refuse_running()
        return stopped

    def lift(self) -> None:
        """Remove the marker; nothing is started."""
        self.instance.fence_file.unlink(missing_ok=True)
        fd = os.open(self.instance.fence_file.parent, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _stop(self) -> None:
        """Make everything that runs on the data directory end, in about ``grace`` seconds."""
        postmaster = running_postmaster(self.instance.data_directory)
        if postmaster is not None and not _is_frozen(postmaster.pid):
            with suppress(ProcessLookupError):
                os.kill(postmaster.pid, signal.SIGQUIT)
        # A stop that was asked for is not followed by a restart. systemd's own way to stop may take an hour.
        self._systemctl("stop", "--no-block")
        if postmaster is not None and not _is_frozen(postmaster.pid):
            _wait(lambda: not self._processes(), self.grace)
        left = self._processes()
        if not left:
            return
        # The postmaster is the only one that could make another.
        for pid in sorted(left, key=lambda pid: postmaster is None or pid != postmaster.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._systemctl("kill", "--signal=KILL")
        _wait(lambda: not self._processes(), KILLED)

    def _refuse_running(self) -> None:
        left = self._processes()
        if left:
            raise PgError(
                f"{len(left)} processes still run on {self.instance.data_directory} (process ids "
                f"{', '.join(map(str, sorted(left)))}) although they were killed, expected none: it is NOT fenced. The "
                "marker is in place. Switch this host off, or cut it off from every client",
                processes=sorted(left),
            )

    def _control_state(self) -> str:
        """``in production`` and the like, of a server that may be unable to answer."""
        argv = ["env", "LC_ALL=C", self.instance.binary("pg_controldata"), "-D", str(self.instance.data_directory)]
        rc, out, err = self.run(argv)
        states = [line.split(":", 1)[1].strip() for line in out.splitlines() if line.startswith("Database cluster st")]
        if rc != 0 or not states:
            raise PgError(
                f"pg_controldata can't tell whether {self.instance.data_directory} is a primary: "
                f"{one_line(err or out)}. Expected a readable control file. Stop the server by hand"
            )
        return states[0]

    def _processes(self) -> set[int]:
        return processes_on(self.instance.data_directory, self.unit)

    def _systemctl(self, verb: str, *options: str) -> None:
        """What it says is of no interest: the processes are looked at."""
        self.run(["timeout", SYSTEMD, "systemctl", verb, *options, self.unit])


def processes_on(data_directory: Path, unit: str) -> set[int]:
    """The postmaster of ``data_directory``, its children, and children that outlived it.

    A child works in its server's data directory. Where root is denied that look (in a container without
    CAP_SYS_PTRACE), its parent tells, and its control group, which is that of ``unit``.
    """
    postmaster = running_postmaster(data_directory)
    found = {postmaster.pid} if postmaster else set()
    real = str(data_directory.resolve())
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            status = Path(f"/proc/{name}/stat").read_text(encoding="utf-8", errors="replace")
            state, parent = status.rpartition(")")[2].split()[:2]
            if "(postgres)" not in status or state in "ZX":
                continue
            if (postmaster and int(parent) == postmaster.pid) or _works_in(real, name, unit):
                found.add(int(name))
        except OSError:
            continue  # it ended, or can't be looked at
    return found


def _works_in(data_directory: str, pid: str, unit: str) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/cwd") == data_directory
    except PermissionError:
        return f"/{unit}\n" in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")


def _is_frozen(pid: int) -> bool:
    """Whether a process was stopped by a signal, so that only SIGKILL reaches it."""
    try:
        status = read_text(Path(f"/proc/{pid}/stat"))
    except OSError:
        return False  # it ended
    return status.rpartition(")")[2].split()[:1] in (["T"], ["t"])


def _wait(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(POLL)
