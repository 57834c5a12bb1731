# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring an instance back as a standby of the primary, whatever it is: pg_rewind, else a fresh copy.

What is being rewound is no data directory: it has another name until it is whole, so that nothing
can start it, and a run that was interrupted is seen to have been.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Lsn,
    PgError,
    TimelineSwitch,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_fork import (
    History,
    common_point,
    segment_name,
    segment_number,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_fork_io import (
    NO_SPACE,
    ForkOnDisk,
    locked,
    read_control,
    read_own,
    read_saved,
    refuse_orphan,
    wal_before,
    write_saved,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import (
    as_postgres,
    observe,
    one_line,
    read_text,
    running_postmaster,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_rewind_steps import (
    Decision,
    Own,
    Primary,
    Route,
    SavedFork,
    rejoin,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_io import (
    Outcome,
    Standby,
    StandbyPlan,
    clean_auto_conf,
    fork_directory,
    sync,
    write_atomically,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_steps import (
    NOTHING_LOST,
    Lost,
    Source,
    Step,
    is_settled,
    tidy_steps,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_text import (
    format_conninfo,
    parse_history,
)

ROUNDS = 5  # plans of one run: each begins where what is on disk has become something else
CHECKPOINT_SECONDS = 600
COUNT_SECONDS = 120
# After these steps what is there is another thing, and what is to be done is decided anew.
TURNS = (Step.STOP, Step.REWIND)
# pg_rewind may succeed the next time; a copy would fail just as well now.
PASSING = re.compile(
    r"could not connect|connection to server|server closed the connection|could not receive|terminating connection"
    r"|out of memory",
    re.IGNORECASE,
)

# Everything that is asked of the upstream, in one answer. The role may read files, but not list functions of
# the superuser. A history file that isn't there is none.
PRIMARY_SQL = """
SELECT json_build_object(
  'in_recovery', pg_is_in_recovery(),
  'version', current_setting('server_version_num')::int / 10000,
  'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
  'timeline', timeline,
  'lsn', CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn() END,
  'history', CASE WHEN timeline > 1 THEN encode(pg_read_binary_file(
      'pg_wal/' || lpad(upper(to_hex(timeline)), 8, '0') || '.history', 0, 1048576, true), 'hex') END,
  'oldest', (SELECT min(substr(name, 9)) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{{24}}$'),
  'segment_size', pg_size_bytes(current_setting('wal_segment_size')),
  'slot', (SELECT json_build_object('lost', restart_lsn IS NULL) FROM pg_replication_slots
      WHERE slot_name = '{slot}'))
FROM (SELECT CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
      ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END AS timeline) AS now
"""

# A WAL segment, out of the binary form of COPY: 25 bytes stand before the value, 2 after it.
RESTORE = """\
#!/bin/sh
# Fetch the WAL file $1 from the primary, and write it to $2. Used by pg_rewind.
set -e
{psql} -XAtqw -v ON_ERROR_STOP=1 -d {conninfo} \\
  -c "COPY (SELECT pg_read_binary_file('pg_wal/$1')) TO STDOUT (FORMAT binary)" > "$2.fetched"
tail -c +26 "$2.fetched" | head -c {size} > "$2"
rm "$2.fetched"
"""


class RewindFailed(PgError):
    """pg_rewind can't do it; a fresh copy can."""


@dataclass(frozen=True)
class RejoinPlan(StandbyPlan):
    """``fork``: what lies beyond the fork, None if there is none; ``doubt``: why it may not be all of it.

    ``oldest``: the first WAL segment that the primary has.
    """

    fork: ForkOnDisk | None = None
    doubt: str | None = None
    oldest: int | None = None


@dataclass(frozen=True)
class Rejoin(Standby):
    """One instance that is to come back."""

    def make(self) -> Outcome:
        """Plan and do it, again and again where a step changed what there is to decide about."""
        first: RejoinPlan | None = None
        lost = NOTHING_LOST
        actions: list[str] = []
        warnings: list[str] = []
        for _round in range(ROUNDS):
            plan = self.plan()
            first = first or plan
            lost = plan.lost if plan.lost != NOTHING_LOST else lost
            ways = self._ways_of(plan, warnings)
            for step in plan.steps:
                if step is not Step.WAIT:
                    actions.append(step.value)
                try:
                    ways[step]()
                except RewindFailed as error:
                    self._remember_failure(str(error))
                    break
                if step is Step.SAVE_FORK:
                    lost = _lost(read_saved(self.instance))
                if step in TURNS:
                    break
            else:
                warnings += plan.warnings
                return Outcome(first, observe(self.instance, self.run), actions, warnings, lost)
            if Step.STOP not in plan.steps:
                warnings += plan.warnings
        raise PgError(
            f"{self.instance.data_directory} turned out to be something else after each step ({', '.join(actions)}), "
            "expected one plan to hold. Does somebody else change it? Run again",
            actions=actions,
        )

    def plan(self, may_guess: bool = False) -> RejoinPlan:
        """What would be done. With ``may_guess`` nothing will be: what would be lost is counted then."""
        observed = observe(self.instance, self.run)
        local = self._look_around(observed)
        if is_settled(observed, self.wanted, local):
            return RejoinPlan(observed, local, tidy_steps(local), lost=_lost(read_saved(self.instance)))
        saved = read_saved(self.instance)
        halfway = not observed.has_data and self._rewinding.exists()
        if not observed.has_data and not halfway:
            return self._plan_clone(may_guess)
        # In this order: the primary goes on writing, so it can't seem to be behind.
        own = self._saved_own(saved) if halfway else read_own(self.instance, observed, self.run)
        primary = self._ask_primary()
        own = replace(own, saved=saved, same_wal=None if halfway else self._same_wal(own, primary))
        decision = rejoin(observed, self.wanted, local, own, primary)
        if decision.route is Route.COPY:
            decision = rejoin(observed, self.wanted, local, own, replace(primary, size=self._ask_size()))
        fork = None if decision.fork is None else self._fork(decision.fork, own)
        lost = _lost(saved)
        if Step.SAVE_FORK in decision.steps:
            lost = _count(fork) if may_guess and fork else NOTHING_LOST
        return RejoinPlan(
            observed,
            local,
            decision.steps,
            self._warnings(decision),
            decision.reason,
            lost,
            fork,
            decision.doubt,
            primary.oldest,
        )

    def _plan_clone(self, may_guess: bool) -> RejoinPlan:
        plan = super().plan(may_guess)
        return RejoinPlan(plan.observed, plan.local, plan.steps, plan.warnings, "there is no database here")

    @property
    def _rewinding(self) -> Path:
        """The data directory while it is rewound: what a clone would throw away as the left-over it is."""
        return self.instance.staging / "rewinding"

    def _ask_primary(self) -> Primary:
        sql = PRIMARY_SQL.format(slot=self.wanted.upstream.slot)
        said: dict[str, Any] = json.loads(self._ask({"dbname": "postgres"}, [sql], self.instance.timeout + 5))
        self._check_version(said["version"])
        slot = said["slot"]
        history = bytes.fromhex(said["history"] or "").decode(errors="replace")
        return Primary(
            Source(
                said["system_identifier"],
                said["timeline"],
                said["version"],
                slot_exists=slot is not None,
                slot_lost=slot is not None and slot["lost"],
            ),
            said["in_recovery"],
            History(said["timeline"], tuple(parse_history(history)), Lsn.parse(said["lsn"]) if said["lsn"] else None),
            segment_number("0" * 8 + said["oldest"], said["segment_size"]),
        )

    def _ask_size(self) -> int:
        """How many bytes a copy will take, about. It takes a while where there are many files."""
        sql = "SELECT sum(pg_database_size(oid)) FROM pg_database"
        return int(self._ask({"dbname": "postgres"}, [sql], COUNT_SECONDS))

    def _saved_own(self, saved: SavedFork | None) -> Own:
        """What a directory held that is half rewound now."""
        size = read_control(self.instance, self._rewinding, self.run).segment_size
        return Own(saved.history if saved else History(0), segment_size=size, halfway=True)

    def _same_wal(self, own: Own, primary: Primary) -> bool | None:
        """Whether the WAL just before the point to which both histories reach is the same on both hosts.

        Two histories of one timeline number exist where two standbys were promoted, or an old copy was
        started as a primary.
        """
        common = common_point(own.history, primary.history)
        mine = wal_before(self.instance, own, common) if common and common.switch_lsn < 1 << 63 else None
        if common is None or mine is None:
            return None
        number, offset, found = mine
        later = [span.timeline for span in primary.history.spans if span.timeline >= common.timeline]
        # The part of a segment that lies before a switch is in the file of the next timeline too.
        for timeline in later:
            name = segment_name(timeline, number, own.segment_size)
            sql = f"SELECT encode(pg_read_binary_file('pg_wal/{name}', {offset}, {len(found)}, true), 'hex')"
            theirs = self._ask({"dbname": "postgres"}, [sql], self.instance.timeout + 5).strip()
            if theirs:
                return bytes.fromhex(theirs) == found
        return None

    def _fork(self, fork: TimelineSwitch, own: Own) -> ForkOnDisk:
        replication = self.wanted.replication
        return ForkOnDisk(
            self.instance,
            self.run,
            own,
            fork,
            replication.application_name,
            replication.upstream.host or "",
            self.timeout,
        )

    def _warnings(self, decision: Decision) -> tuple[str, ...]:
        warnings = []
        if decision.doubt is not None:
            warnings.append(f"what only this instance holds is given up, as discard permits: {decision.doubt}")
        if decision.route is Route.COPY:
            warnings.append(f"a fresh copy takes the place of {self.instance.data_directory}: {decision.reason}")
        return tuple(warnings)

    def _remember_failure(self, reason: str) -> None:
        saved = read_saved(self.instance)
        if saved is not None:
            write_saved(self.instance, replace(saved, failed=reason))

    def _ways_of(self, plan: RejoinPlan, warnings: list[str]) -> Mapping[Step, Callable[[], object]]:
        ways: dict[Step, Callable[[], object]] = {
            **self._ways(),
            Step.FENCE: self._fence,
            Step.STOP: self._stop,
            # pg_rewind reads the primary's timeline from its control file, which learns it at a checkpoint.
            Step.CHECKPOINT: lambda: self._ask({"dbname": "postgres"}, ["CHECKPOINT"], CHECKPOINT_SECONDS),
            Step.DISCARD_DATA: self._discard_data,
            Step.STANDBY_SIGNAL: lambda: write_atomically(self.instance.data_directory / "standby.signal", "", 0o600),
        }
        fork = plan.fork
        if fork is not None:
            ways[Step.SAVE_FORK] = lambda: self._save_fork(fork, plan.doubt, warnings)
            ways[Step.REWIND] = lambda: self._rewind(fork, plan.oldest or 0, plan.observed.has_data)
        return ways

    def _fence(self) -> None:
        reason = f"being brought back as a standby of {self.wanted.where}: run rejoin.yml to finish"
        write_atomically(self.instance.fence_file, f"{reason}\n", 0o644)

    def _stop(self) -> None:
        rc, out, err = self.run(["timeout", f"{self.timeout}", "systemctl", "stop", self.unit])
        postmaster = running_postmaster(self.instance.data_directory)
        if postmaster is not None:
            raise PgError(
                f"the server (process {postmaster.pid}) still runs on {self.instance.data_directory} after "
                f"{self.timeout} s: {one_line(err or out) or f'systemctl stop {self.unit} returned {rc}'}. Expected it "
                "to stop. Nothing else was changed. Stop it by hand, then run again"
            )

    def _save_fork(self, fork: ForkOnDisk, doubt: str | None, warnings: list[str]) -> None:
        try:
            warnings += fork.save()[1]
        except PgError as error:
            if doubt is None:
                raise
            warnings.append(f"nothing was saved: {error}")
            write_saved(self.instance, SavedFork(fork.own.history, fork.fork, Lost(None)))

    def _discard_data(self) -> None:
        os.rename(self.instance.data_directory, self._make_staging() / "discarded")
        self._must("rm", ["rm", "-rf", str(self.instance.staging)])

    def _make_staging(self) -> Path:
        staging = self.instance.staging
        self._must("mkdir", as_postgres("mkdir", "-p", "-m", "0700", str(staging)))
        return staging

    def _rewind(self, fork: ForkOnDisk, oldest: int, has_data: bool) -> None:
        """Rewind under another name, then give it its name back. RewindFailed: only a copy helps."""
        target, kept = self._rewinding, fork_directory(self.instance) / "wal"
        if has_data:
            self._prepare(fork, oldest, kept)
            self._make_staging()
            os.rename(self.instance.data_directory, target)
            sync(self.instance.data_directory.parent)
        elif not self._is_rewound():
            # The first attempt may have replaced WAL that is to be read again.
            self._put_back(os.listdir(kept), kept)
        if not self._is_rewound():
            self._run_pg_rewind(fork.own.segment_size)
        self._fill_gap(fork, kept)
        clean_auto_conf(target)
        write_atomically(target / "standby.signal", "", 0o600)
        # pg_rewind may have been killed before all of it was on disk.
        self._must("initdb --sync-only", as_postgres(self.instance.binary("initdb"), "--sync-only", "-D", str(target)))
        self._put_in_place(target)
        self.instance.staging.rmdir()

    def _is_rewound(self) -> bool:
        """Whether pg_rewind came to its end: the control file is the last that it replaces."""
        target = self._rewinding
        label = (target / "backup_label").exists()
        return label and read_control(self.instance, target, self.run).is_rewound

    def _prepare(self, fork: ForkOnDisk, oldest: int, kept: Path) -> None:
        """Bring the data directory into the state of a clean shutdown, and keep the WAL that pg_rewind reads."""
        if not read_control(self.instance, self.instance.data_directory, self.run).is_clean:
            wrong = fork.single_user("template1")
            if wrong is not None:
                raise RewindFailed(f"its own recovery failed: {wrong}")
        self._must("rm", ["rm", "-rf", str(kept)])
        self._must("mkdir", as_postgres("mkdir", "-m", "0700", str(kept)))
        fork.again().copy_wal(kept)
        # What the primary no longer has is removed by pg_rewind, though replay may have to begin there.
        for name in fork.own.segments:
            if segment_number(name, fork.own.segment_size) < oldest and not (kept / name).exists():
                with suppress(OSError):
                    os.link(self.instance.data_directory / "pg_wal" / name, kept / name)

    def _put_back(self, names: Iterable[str], kept: Path) -> None:
        pg_wal = self._rewinding / "pg_wal"
        files = [str(kept / name) for name in names if not _is_same(kept / name, pg_wal / name)]
        if files:
            self._must("cp", as_postgres("cp", "--remove-destination", "--", *files, str(pg_wal)))

    def _fill_gap(self, fork: ForkOnDisk, kept: Path) -> None:
        """Where the primary no longer has the WAL with which replay begins, ours will do: it is the same."""
        size = fork.own.segment_size
        start = re.search(r"file ([0-9A-F]{24})", read_text(self._rewinding / "backup_label"))
        needed = range(segment_number(start[1], size) if start else 0, fork.fork.switch_lsn // size)
        there = set(os.listdir(self._rewinding / "pg_wal"))
        names = [name for name in os.listdir(kept) if re.fullmatch("[0-9A-F]{24}", name) and name not in there]
        self._put_back([name for name in names if segment_number(name, size) in needed], kept)

    def _run_pg_rewind(self, segment_size: int) -> None:
        work = fork_directory(self.instance)
        conninfo = format_conninfo({**self.wanted.replication.conninfo, "dbname": "postgres"})
        restore = RESTORE.format(
            psql=shlex.quote(self.instance.binary("psql")), conninfo=shlex.quote(conninfo), size=segment_size
        )
        write_atomically(work / "restore", restore, 0o600)
        settings = {
            "data_directory": str(self._rewinding),
            "restore_command": f"sh {shlex.quote(str(work / 'restore'))} %f %p",
        }
        # Debian keeps the configuration outside the data directory, where pg_rewind doesn't look by itself.
        lines = [f"include {_setting(str(self.instance.config_directory / 'postgresql.conf'))}\n"]
        lines += [f"{name} = {_setting(value)}\n" for name, value in settings.items()]
        write_atomically(work / "postgresql.conf", "".join(lines), 0o600)
        rc, out, err = self.run(
            as_postgres(
                *locked(self.instance),
                self.instance.binary("pg_rewind"),
                f"--target-pgdata={self._rewinding}",
                f"--source-server={conninfo}",
                f"--config-file={work / 'postgresql.conf'}",
                "--restore-target-wal",
                "--no-ensure-shutdown",
            )
        )
        refuse_orphan(self.instance, rc)
        said = one_line(err or out) or f"it returned {rc}"
        if rc == 0 and self._is_rewound():
            return
        if NO_SPACE.search(said):
            raise PgError(f"pg_rewind found the disk full: {said}. Make room and run again")
        if PASSING.search(said) or not 0 <= rc < 128:
            raise PgError(f"pg_rewind was interrupted: {said}. Run again")
        errors = re.findall(r"pg_rewind: (?:error|fatal): (.*)", err)
        raise RewindFailed("; ".join(errors) or said)


def _lost(saved: SavedFork | None) -> Lost:
    return saved.lost if saved else NOTHING_LOST


def _count(fork: ForkOnDisk) -> Lost:
    try:
        return Lost(fork.count())
    except PgError:
        return Lost(None)


def _is_same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def _setting(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
