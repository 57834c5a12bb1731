# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make one instance a standby: the steps of pg_standby, carried out. Every step can be repeated."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Observation,
    PgError,
    State,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import (
    Instance,
    Runner,
    as_postgres,
    is_empty,
    observe,
    one_line,
    read_text,
    running_postmaster,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_steps import (
    NOTHING_LOST,
    Local,
    Lost,
    Source,
    Step,
    Wanted,
    is_settled,
    standby_steps,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_text import (
    format_conninfo,
    without_settings,
)

# What a copy must not take over from the instance it was made of, nor override what is set here.
NOT_OURS = r"primary_conninfo|primary_slot_name|recovery_target\w*|restore_command"
POLL = 0.2  # seconds between two looks at something that is awaited
LOG_LINES = 15  # of the server's log in an error


@dataclass(frozen=True)
class Standby:
    """One instance that is to be a standby, and the means to make it one.

    ``timeout``: seconds until it must stream. ``max_rate``: as pg_basebackup takes it.
    """

    instance: Instance
    wanted: Wanted
    unit: str
    run: Runner
    timeout: int = 60
    checkpoint: str = "fast"
    max_rate: str | None = None

    def make(self) -> Outcome:
        """Plan, and do it."""
        plan = self.plan()
        return Outcome.of(plan, self.apply(plan.steps))

    def plan(self, may_guess: bool = False) -> StandbyPlan:
        """What would be done; with ``may_guess`` also where the upstream can't be asked yet."""
        observed = observe(self.instance, self.run)
        local = self._look_around(observed)
        source, warnings = None, []
        if not is_settled(observed, self.wanted, local):
            try:
                source = self.ask_source()
            except PgError as error:
                if not may_guess:
                    raise
                warnings.append(str(error))
        steps = standby_steps(observed, self.wanted, local, source)
        return StandbyPlan(observed, local, steps, tuple(warnings))

    def _look_around(self, observed: Observation) -> Local:
        settings = read_text(self.instance.standby_conf)
        left = [fork_directory(self.instance), replaced_directory(self.instance)]
        left += [self.instance.staging] if observed.has_data else []
        return Local(
            settings=settings + "\n" if settings else "",
            overridden=_cleaned_auto_conf(self.instance.data_directory) is not None,
            enabled=self.run(["systemctl", "is-enabled", "--quiet", self.unit])[0] == 0,
            fenced=self.instance.fence_file.exists(),
            held=self.instance.held_file.exists(),
            left_overs=any(path.exists() for path in left),
        )

    def ask_source(self) -> Source:
        """What the upstream says of itself, over the connection that replication will use."""
        slot = self.wanted.upstream.slot
        out = self._on_upstream("IDENTIFY_SYSTEM", "SHOW server_version_num", f"READ_REPLICATION_SLOT {slot}")
        identity, version, position = (out.splitlines() + [""] * 3)[:3]
        identifier, timeline = identity.split("|")[:2]
        self._check_version(int(version) // 10000)
        # "physical", and where the WAL it keeps begins: nowhere, once it lost that.
        exists, lost = bool(position.strip("|")), position.rstrip("|") == "physical"
        return Source(identifier, int(timeline), self.instance.version, slot_exists=exists, slot_lost=lost)

    def _check_version(self, found: int) -> None:
        if found != self.instance.version:
            raise PgError(
                f"the upstream runs PostgreSQL {found}, expected {self.instance.version}: a standby "
                "has the major version of its upstream",
                found=found,
                expected=self.instance.version,
            )

    def _on_upstream(self, *commands: str) -> str:
        """Commands of the replication protocol."""
        return self._ask({"replication": "true"}, commands, self.instance.timeout + 5)

    def _ask(self, how: Mapping[str, str], commands: Sequence[str], bound: float) -> str:
        """What the upstream answers to ``commands``, in ``bound`` seconds at most."""
        conninfo = format_conninfo({**self.wanted.replication.conninfo, **how})
        argv = [self.instance.binary("psql"), "-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", conninfo]
        for command in commands:
            argv += ["-c", command]
        rc, out, err = self.run(as_postgres(*argv, bound=bound))
        if rc != 0:
            where = self.wanted.upstream
            raise PgError(
                f"the upstream {where.host}:{where.port} can't be asked as "
                f"{self.wanted.replication.user}: {one_line(err) or 'no answer in time'}. Expected: it "
                f"runs, pg_hba.conf has a {'replication ' if 'replication' in how else ''}line for this host, the "
                "password file and the certificate are right",
            )
        return out

    def apply(self, steps: Sequence[Step]) -> Observation:
        """Do ``steps``; what was observed after the last of them."""
        do = self._ways()
        for step in steps:
            do[step]()
        return observe(self.instance, self.run)

    def _ways(self) -> Mapping[Step, Callable[[], object]]:
        return {
            Step.DROP_SLOT: lambda: self._on_upstream(f"DROP_REPLICATION_SLOT {self.wanted.upstream.slot}"),
            Step.CREATE_SLOT: self._create_slot,
            Step.DISCARD_LEFT_OVER: lambda: shutil.rmtree(self.instance.staging),
            Step.COPY: self._copy,
            Step.CONFIGURE: self._configure,
            Step.ENABLE: lambda: self._must("systemctl enable", ["systemctl", "enable", "--quiet", self.unit]),
            Step.START: self._start,
            Step.RELOAD: self._reload,
            Step.WAIT: self._wait_until_streaming,
            Step.UNFENCE: self._unfence,
            Step.CLEAR: self._clear,
        }

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep a second run away, and wait for what an interrupted first one left running.

        Its module may live on after the connection died, and what it started after the module.
        """
        with ExitStack() as held:
            # In this order: what the staging directory is can change until the first is ours.
            for directory in (self.instance.data_directory.parent, self.instance.staging):
                if directory.is_dir():
                    fd = os.open(directory, os.O_RDONLY)
                    held.callback(os.close, fd)
                    self._lock(fd)
            # What works on a fork locks this for itself, so it isn't kept.
            work = fork_directory(self.instance)
            if work.is_dir():
                fd = os.open(work, os.O_RDONLY)
                try:
                    self._lock(fd)
                finally:
                    os.close(fd)
            yield

    def _lock(self, fd: int) -> None:
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PgError(
                        f"an earlier run still works on {self.instance.data_directory} after "
                        f"{self.timeout} s: wait until its pg_basebackup, pg_rewind or postgres ends, then run again"
                    ) from None
                time.sleep(POLL)

    def _create_slot(self) -> None:
        self._on_upstream(f"CREATE_REPLICATION_SLOT {self.wanted.upstream.slot} PHYSICAL RESERVE_WAL")

    def _copy(self) -> None:
        """Copy beside the data directory and rename, so that it is whole or not there."""
        staging = self.instance.staging
        self._must("mkdir", as_postgres("mkdir", "-p", "-m", "0700", str(staging)))
        rate = [f"--max-rate={self.max_rate}"] if self.max_rate else []
        # flock: the lock lives as long as pg_basebackup does, even if this process dies.
        self._must(
            "pg_basebackup",
            as_postgres(
                "flock",
                "--nonblock",
                str(staging),
                self.instance.binary("pg_basebackup"),
                f"--pgdata={staging}",
                "--wal-method=stream",
                f"--slot={self.wanted.upstream.slot}",
                f"--checkpoint={self.checkpoint}",
                "--no-password",
                *rate,
                f"--dbname={format_conninfo(self.wanted.replication.conninfo)}",
            ),
        )
        clean_auto_conf(staging)
        # Before the rename: without it the copy would start as a second primary.
        write_atomically(staging / "standby.signal", "", 0o600)
        self._put_in_place(staging)

    def _put_in_place(self, whole: Path) -> None:
        """Give ``whole`` the name of the data directory; what has it now is kept beside it until the end."""
        directory, replaced = self.instance.data_directory, replaced_directory(self.instance)
        if not is_empty(directory):
            if replaced.exists():
                shutil.rmtree(replaced)
            os.rename(directory, replaced)
        os.rename(whole, directory)
        sync(directory.parent)

    def _unfence(self) -> None:
        for file in (self.instance.fence_file, self.instance.held_file):
            file.unlink(missing_ok=True)
        sync(self.instance.state_directory)

    def _clear(self) -> None:
        for path in (fork_directory(self.instance), replaced_directory(self.instance), self.instance.staging):
            if path.exists():
                shutil.rmtree(path)

    def _configure(self) -> None:
        write_atomically(self.instance.standby_conf, self.wanted.settings, 0o640)
        clean_auto_conf(self.instance.data_directory)

    def _start(self) -> None:
        # Debian's unit stays "active" when a start failed, and "start" would then do nothing. No
        # server runs, so restart interrupts nobody.
        bound = ["timeout", f"{self.timeout}"]
        rc, _out, err = self.run([*bound, "systemctl", "restart", self.unit])
        if running_postmaster(self.instance.data_directory) is None:
            found = one_line(err) or f"systemctl restart {self.unit} returned {rc}"
            raise PgError(f"the server didn't start: {found}.{self._last_words()}")

    def _reload(self) -> None:
        postmaster = running_postmaster(self.instance.data_directory)
        if postmaster is None:
            raise PgError(f"the server stopped before it was reloaded.{self._last_words()}")
        os.kill(postmaster.pid, signal.SIGHUP)

    def _wait_until_streaming(self) -> None:
        deadline = time.monotonic() + self.timeout
        while True:
            seen = observe(self.instance, self.run)
            if seen.streaming and seen.upstream == self.wanted.upstream:
                return
            if seen.state is not State.STANDBY or time.monotonic() > deadline:
                break
            time.sleep(POLL)
        where = self.wanted.upstream
        raise PgError(
            f"the instance is {seen.state.value} on timeline {seen.timeline} and doesn't stream "
            f"from {where.host}:{where.port}, expected within {self.timeout} s.{self._last_words()}",
            instance=seen.to_dict(),
        )

    def _last_words(self) -> str:
        """The end of the server's log, for the reader of an error."""
        lines = read_text(self.instance.log_file).splitlines()[-LOG_LINES:]
        said = "\n".join(lines) or "(nothing there)"
        return f" The end of {self.instance.log_file}:\n{said}"

    def _must(self, what: str, argv: Sequence[str]) -> None:
        rc, out, err = self.run(argv)
        if rc != 0:
            raise PgError(f"{what} failed with return code {rc}: {one_line(err or out)}")


@dataclass(frozen=True)
class StandbyPlan:
    """What was found, and what is to be done about it."""

    observed: Observation
    local: Local
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()
    reason: str | None = None
    lost: Lost = NOTHING_LOST

    @property
    def actions(self) -> list[str]:
        """The steps that change something."""
        return [step.value for step in self.steps if step is not Step.WAIT]


@dataclass(frozen=True)
class Outcome:
    """What came of a run: its (first) plan, what was observed at the end, what was done on the way there."""

    plan: StandbyPlan
    observed: Observation
    actions: Sequence[str]
    warnings: Sequence[str]
    lost: Lost

    @classmethod
    def of(cls, plan: StandbyPlan, observed: Observation | None = None) -> Outcome:
        """What comes of ``plan``, if it was (or would be) carried out as it is."""
        return cls(plan, observed or plan.observed, plan.actions, plan.warnings, plan.lost)


def fork_directory(instance: Instance) -> Path:
    """What a rejoin needs to know if it is interrupted. Beside the data directory, for that may be replaced."""
    return instance.data_directory.with_name(f"{instance.data_directory.name}.fork")


def replaced_directory(instance: Instance) -> Path:
    """Where an old data directory stays until the copy that took its place streams."""
    return instance.data_directory.with_name(f"{instance.data_directory.name}.replaced")


def as_diff(standby: Standby, plan: StandbyPlan) -> list[dict[str, str]]:
    """What ``plan`` changes, in the form Ansible shows with --diff."""
    diff = []
    if Step.CONFIGURE in plan.steps:
        path = str(standby.instance.standby_conf)
        diff.append(
            {
                "before_header": path,
                "before": plan.local.settings,
                "after_header": path,
                "after": standby.wanted.settings,
            }
        )
    if plan.actions:
        upstream = f"{standby.wanted.upstream.host}:{standby.wanted.upstream.port}"
        path = str(standby.instance.data_directory)
        diff.append(
            {
                "before_header": path,
                "before": f"{plan.observed.state.value}\n",
                "after_header": path,
                "after": f"standby of {upstream} ({', '.join(plan.actions)})\n",
            }
        )
    return diff


def _cleaned_auto_conf(directory: Path) -> str | None:
    return without_settings(read_text(directory / "postgresql.auto.conf"), NOT_OURS)


def clean_auto_conf(directory: Path) -> None:
    """Take away what would win over the settings file."""
    text = _cleaned_auto_conf(directory)
    if text is not None:
        write_atomically(directory / "postgresql.auto.conf", text, 0o600)


def write_atomically(path: Path, text: str, mode: int) -> None:
    """Replace ``path``, owned by postgres, so that a power cut leaves the old or the new text."""
    temporary = path.with_name(f".{path.name}.new")
    with open(temporary, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        shutil.chown(temporary, "postgres", "postgres")
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync(path.parent)


def sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
