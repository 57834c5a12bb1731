# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the history that is on this host's disk, and save what lies beyond a fork for the operator."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import IO, cast

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Lsn,
    Observation,
    PgError,
    TimelineSwitch,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_fork import (
    Commits,
    History,
    Relation,
    Span,
    Transaction,
    beyond,
    databases_sql,
    describe,
    end_of_record,
    last_record,
    names_sql,
    readme,
    rows_sql,
    segment_name,
    segment_number,
    segments_of,
    with_names,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import (
    Instance,
    Runner,
    as_postgres,
    one_line,
    read_text,
    readable_wal,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_rewind_steps import (
    Own,
    SavedFork,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_io import (
    POLL,
    fork_directory,
    sync,
    write_atomically,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_steps import Lost
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_text import parse_history

# A transaction that ended beyond the fork may have begun before it: so many segments are read for its rows.
LOOK_BACK = 4
LOCKED = 75  # what flock returns if somebody else holds the lock
NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded|53100")
# What a server in single-user mode is told. Nothing may take away WAL that pg_rewind reads later.
SINGLE_USER = {
    "wal_keep_size": "2000000000",
    "max_slot_wal_keep_size": "-1",
    "archive_mode": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "",
    "log_min_messages": "warning",
    "lc_messages": "C",
    "statement_timeout": "0",
}


@dataclass(frozen=True)
class Control:
    """What pg_controldata says of one data directory."""

    values: Mapping[str, str]

    @property
    def is_clean(self) -> bool:
        """Whether it was shut down as a primary, so that no recovery is due."""
        return self.values["Database cluster state"] == "shut down"

    @property
    def is_rewound(self) -> bool:
        """Whether pg_rewind came to its end: replacing the control file is the last thing it does."""
        return self.values["Database cluster state"] == "in archive recovery"

    @property
    def segment_size(self) -> int:
        return int(self.values["Bytes per WAL segment"])

    @property
    def timeline(self) -> int:
        return max(self.checkpoint_timeline, int(self.values["Min recovery ending loc's timeline"]))

    @property
    def checkpoint_timeline(self) -> int:
        return int(self.values["Latest checkpoint's TimeLineID"])

    @property
    def replay_from(self) -> Lsn:
        """Where valid WAL is sure to begin."""
        name = "Latest checkpoint location" if self.is_clean else "Latest checkpoint's REDO location"
        return Lsn.parse(self.values[name])

    @property
    def is_rewindable(self) -> bool:
        hints = self.values.get("wal_log_hints setting") == "on"
        return hints or self.values.get("Data page checksum version", "0") != "0"


def read_control(instance: Instance, directory: Path, run: Runner) -> Control:
    """PgError if the control file of ``directory`` can't be read."""
    rc, out, err = run(as_postgres(instance.binary("pg_controldata"), "-D", str(directory), bound=instance.timeout))
    values = dict(line.split(":", 1) for line in out.splitlines() if ":" in line)
    if rc != 0 or "Database cluster state" not in values:
        raise PgError(f"pg_controldata can't read {directory}: {one_line(err or out)}")
    return Control({key.strip(): value.strip() for key, value in values.items()})


def read_own(instance: Instance, observed: Observation, run: Runner) -> Own:
    """What is on this host's disk; the WAL of a server that can't tell is read to its end."""
    control = read_control(instance, instance.data_directory, run)
    names = _segments(instance)
    if observed.accepts_connections and observed.lsn_exact:
        history = History(observed.timeline, observed.timeline_history, observed.position)
    else:
        history = _history_on_disk(instance, control, names, run)
    return Own(
        history=history,
        segments=names,
        segment_size=control.segment_size,
        rewindable=control.is_rewindable,
        free=shutil.disk_usage(instance.data_directory.parent).free,
    )


def _segments(instance: Instance) -> frozenset[str]:
    names = os.listdir(instance.data_directory / "pg_wal")
    return frozenset(name for name in names if re.fullmatch("[0-9A-F]{24}", name))


def _history_on_disk(instance: Instance, control: Control, names: Collection[str], run: Runner) -> History:
    """The latest timeline that has WAL here, and where that WAL ends.

    A standby may have received a timeline that its control file doesn't know yet.
    """
    pg_wal = instance.data_directory / "pg_wal"
    found = None
    for timeline in sorted({int(name[:8], 16) for name in names} | {control.timeline}, reverse=True):
        if timeline < control.timeline:
            break
        switches = tuple(parse_history(read_text(pg_wal / f"{timeline:08X}.history"))) if timeline > 1 else ()
        ancestors = {switch.timeline for switch in switches}
        if timeline != control.timeline and control.timeline not in ancestors:
            continue
        begin = max((switch.switch_lsn for switch in switches), default=Lsn(0))
        if timeline == control.checkpoint_timeline:
            begin = max(begin, control.replay_from)
        end = _end_of_wal(instance, timeline, begin, control.segment_size, run)
        found = History(timeline, switches, end)
        if end is not None:
            break
    return found or History(control.timeline)


def _waldump(instance: Instance, wal: Path, timeline: int, *options: str) -> list[str]:
    return as_postgres("TZ=UTC", instance.binary("pg_waldump"), "-p", str(wal), "-t", str(timeline), *options)


def _end_of_wal(instance: Instance, timeline: int, begin: Lsn, size: int, run: Runner) -> Lsn | None:
    """Where the last whole record ends that follows ``begin`` without a gap; None if there is none.

    Printing takes twenty times as long as reading. So WAL is read without printing, until pg_waldump
    says what stopped it, and only the last record is printed.
    """
    with readable_wal(instance) as wal:
        _rc, _out, err = run(_waldump(instance, wal, timeline, "--quiet", "-s", str(begin)))
        invalid = re.search(r"error in WAL record at ([0-9A-F]+/[0-9A-F]+)", err)
        missing = re.search(r'could not find file "[0-9A-F]{8}([0-9A-F]{16})"', err)
        if invalid:
            _rc, out, _err = run(_waldump(instance, wal, timeline, "-s", invalid[1], "-n", "1"))
            record = last_record(out.splitlines())
        elif missing:
            # The last record may begin in the last segment, or be longer than that.
            stop = segment_number("0" * 8 + missing[1], size) * size
            record = None
            for start in (max(begin, stop - size), begin):
                if record is None and start < stop:
                    _rc, out, _err = run(_waldump(instance, wal, timeline, "-s", str(Lsn(start))))
                    record = last_record(out.splitlines())
        else:
            return None
    return end_of_record(*record, size) if record else None


def lines_of(argv: Sequence[str]) -> Iterator[str]:
    """What a program prints, line by line, for it may be more than fits into memory."""
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", cwd="/"
    ) as process:
        yield from cast(IO[str], process.stdout)
        said = cast(IO[str], process.stderr).read()
    if process.returncode != 0:
        raise PgError(f"the write-ahead log can't be read: {one_line(said)}")


@dataclass
class Found:
    """What lies beyond a fork, added up."""

    transactions: int = 0
    ids: list[int] = field(default_factory=list)
    pages: dict[Relation, set[int]] = field(default_factory=dict)

    def add(self, transaction: Transaction) -> None:
        self.transactions += 1
        self.ids += transaction.ids
        for relation, changes in transaction.changes.items():
            self.pages.setdefault(relation, set()).update(changes.pages)


@dataclass(frozen=True)
class ForkOnDisk:
    """What one instance holds beyond ``fork``, and where it is saved.

    ``host`` and ``upstream``: their names, for the reader of what is saved.
    """

    instance: Instance
    run: Runner
    own: Own
    fork: TimelineSwitch
    host: str
    upstream: str
    timeout: int = 60

    @property
    def spans(self) -> tuple[Span, ...]:
        return beyond(self.own.history, self.fork)

    def count(self) -> int:
        """How many transactions were committed beyond the fork; nothing is changed."""
        return sum(1 for _transaction in self._transactions(self.spans))

    def save(self) -> tuple[SavedFork, list[str]]:
        """Save what lies beyond the fork, if anything was committed there; and what couldn't be saved.

        PgError: it can't be read, or the disk is full. Nothing was discarded then.
        """
        known = read_saved(self.instance)
        if known is not None and self._is_known(known):
            known = replace(known, history=self.own.history)
            write_saved(self.instance, known)
            return known, []
        stamp = f"{datetime.now(tz=UTC):%Y%m%dT%H%M%SZ}"
        host = re.sub(r"[^A-Za-z0-9_.-]", "_", self.host)
        place = self.instance.state_directory / f"lost-{host}-{stamp}"
        for stale in self.instance.state_directory.glob(f"lost-{host}-*.partial"):
            shutil.rmtree(stale)
        partial = place.with_name(f"{place.name}.partial")
        try:
            return self._save(place, partial)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise _disk_full(partial) from error
        except PgError as error:
            shutil.rmtree(partial, ignore_errors=True)
            if NO_SPACE.search(str(error)):
                raise _disk_full(partial) from error
            raise

    def again(self) -> ForkOnDisk:
        """The same after the server wrote."""
        names = _segments(self.instance)
        control = read_control(self.instance, self.instance.data_directory, self.run)
        history = _history_on_disk(self.instance, control, names, self.run)
        return replace(self, own=replace(self.own, history=history, segments=names))

    def _is_known(self, known: SavedFork) -> bool:
        """Whether an earlier run saved this fork, and nothing was committed since."""
        mine, theirs = self.own.history, known.history
        if not known.covers(self.fork) or theirs.timeline != mine.timeline or theirs.end is None:
            return False
        if known.lost.transactions is None:
            return False
        if known.lost.directory is not None and not Path(known.lost.directory).is_dir():
            return False
        since = beyond(mine, TimelineSwitch(mine.timeline, theirs.end))
        return next(self._transactions(since), None) is None

    def _save(self, place: Path, partial: Path) -> tuple[SavedFork, list[str]]:
        work = fork_directory(self.instance)
        self._must("mkdir", "mkdir", "-p", "-m", "0700", *map(str, (work, partial, partial / "wal", partial / "rows")))
        found = self._write_records(partial)
        if not found.transactions:
            shutil.rmtree(partial)
            saved = SavedFork(self.own.history, self.fork)
            write_saved(self.instance, saved)
            return saved, []
        self.copy_wal(partial / "wal")
        names, warnings = self._save_rows(found, partial / "rows")
        self._write_transactions(partial, names)
        cluster = f"{self.instance.version}/{self.instance.cluster}"
        _write(partial / "README.txt", readme(self.host, self.spans, found.transactions, self.upstream, cluster))
        # Where the rows were read, a recovery and checkpoints made the WAL a little longer.
        saved = SavedFork(self.again().own.history, self.fork, Lost(found.transactions, str(place)))
        # Neither cp nor the server waited until it was on disk.
        self._must("sync", "sync", "--file-system", str(partial))
        # In this order: a directory that has its name is known, and isn't made a second time.
        write_saved(self.instance, saved)
        os.rename(partial, place)
        sync(place.parent)
        return saved, warnings

    def _transactions(self, spans: Sequence[Span]) -> Iterator[Transaction]:
        commits = self._begun_before(spans)
        yield from commits.read(chain.from_iterable(map(self._lines, spans)))

    def _lines(self, span: Span) -> Iterator[str]:
        with readable_wal(self.instance) as wal:
            bounds = ("-s", str(span.begin), "-e", str(span.end))
            yield from lines_of(_waldump(self.instance, wal, span.timeline, *bounds))

    def _begun_before(self, spans: Sequence[Span]) -> Commits:
        """What transactions did shortly before ``spans``, as far as that is there."""
        commits = Commits()
        if not spans:
            return commits
        first, size = spans[0], self.own.segment_size
        number = first.begin // size
        while first.begin // size - number < LOOK_BACK:
            if segment_name(first.timeline, number - 1, size) not in self.own.segments:
                break
            number -= 1
        # Where no record begins in between, pg_waldump calls that an error.
        with suppress(PgError):
            for _ended in commits.read(self._lines(Span(first.timeline, Lsn(number * size), first.begin))):
                pass
        return commits

    def _write_records(self, partial: Path) -> Found:
        """Write records.txt, and transactions.txt with tables called what WAL calls them."""
        found, commits = Found(), self._begun_before(self.spans)
        with (
            open(partial / "records.txt", "w", encoding="utf-8") as records,
            open(partial / "transactions.raw", "w", encoding="utf-8") as listed,
        ):
            for transaction in commits.read(_copied(chain.from_iterable(map(self._lines, self.spans)), records.write)):
                listed.write(describe(transaction))
                found.add(transaction)
        _hand_over(partial / "records.txt")
        return found

    def _write_transactions(self, partial: Path, names: Mapping[str, str]) -> None:
        raw = partial / "transactions.raw"
        with (
            open(raw, encoding="utf-8") as listed,
            open(partial / "transactions.txt", "w", encoding="utf-8") as told,
        ):
            told.writelines(with_names(line, names) for line in listed)
        raw.unlink()
        _hand_over(partial / "transactions.txt")

    def copy_wal(self, place: Path) -> None:
        """Copy the WAL beyond the fork, and the history files that tell its timelines."""
        pg_wal = self.instance.data_directory / "pg_wal"
        wanted = {name for span in self.spans for name in segments_of(span, self.own.segment_size)}
        files = [
            str(pg_wal / name)
            for name in sorted(os.listdir(pg_wal))
            if name in wanted or re.fullmatch(r"[0-9A-F]{8}\.history", name)
        ]
        if files:
            self._must("cp", "cp", "--preserve=timestamps", "--", *files, str(place))

    def _save_rows(self, found: Found, place: Path) -> tuple[dict[str, str], list[str]]:
        """Let a server in single-user mode, to which nobody can connect, write the rows; and their tables' names."""
        names: dict[str, str] = {}
        listed = fork_directory(self.instance) / "databases.csv"
        said = self.single_user("template1", databases_sql(str(listed)))
        if said is not None:
            return names, [f"the lost rows couldn't be read, the log records of them are saved: {said}"]
        warnings = []
        databases = {int(oid): name for oid, name in _csv(listed)}
        for database in sorted({relation.database for relation in found.pages} & set(databases)):
            mine = {relation: pages for relation, pages in found.pages.items() if relation.database == database}
            written = {relation: pages for relation, pages in mine.items() if pages}
            file = fork_directory(self.instance) / f"names.{database}.csv"
            file.unlink(missing_ok=True)
            commands = [names_sql(mine, str(file))]
            if written:
                commands.append(rows_sql(databases[database], written, found.ids, str(place)))
            said = self.single_user(databases[database], *commands)
            if said is not None:
                warnings.append(f"some of the lost rows of database {databases[database]} couldn't be read: {said}")
            for tablespace, node, schema, name in _csv(file):
                names[f"{tablespace}/{database}/{node}"] = f"{databases[database]}.{schema}.{name}"
        return names, warnings

    def single_user(self, database: str, *commands: str) -> str | None:
        """Run a server in single-user mode, after recovery if that is due; what went wrong, None if nothing did.

        It is no standby meanwhile, for that is not possible in this mode; the fence keeps it from
        being started. PgError: the disk is full.
        """
        directory = self.instance.data_directory
        file = fork_directory(self.instance) / "commands.sql"
        write_atomically(file, "".join(f"{command}\n" for command in commands), 0o600)
        (directory / "standby.signal").unlink(missing_ok=True)
        sync(directory)
        config = {"config_file": str(self.instance.config_directory / "postgresql.conf"), **SINGLE_USER}
        options = [part for name, value in config.items() for part in ("-c", f"{name}={value}")]
        server = [self.instance.binary("postgres"), "--single", "-D", str(directory), *options, database]
        deadline = time.monotonic() + self.timeout
        while True:
            rc, _out, err = self.run(
                as_postgres("sh", "-c", 'exec "$@" < "$0"', str(file), *locked(self.instance), *server)
            )
            # A postmaster that was killed leaves children, which see it within seconds.
            if "pre-existing shared memory block" not in err or time.monotonic() > deadline:
                break
            time.sleep(POLL)
        refuse_orphan(self.instance, rc)
        if NO_SPACE.search(err):
            raise _disk_full(directory)
        wrong = re.findall(r"^(?:WARNING: +pg_standby:|ERROR: |FATAL: |PANIC: ) *(.*)", err, re.MULTILINE)
        if rc == 0 and not wrong:
            return None
        return "; ".join(wrong) or one_line(err) or f"postgres --single returned {rc}"

    def _must(self, what: str, *argv: str) -> None:
        rc, out, err = self.run(as_postgres(*argv))
        if rc != 0:
            raise PgError(f"{what} failed with return code {rc}: {one_line(err or out)}")


def locked(instance: Instance) -> list[str]:
    """What begins a command that a second run must wait for, should it outlive this one."""
    return ["flock", "--nonblock", f"--conflict-exit-code={LOCKED}", str(fork_directory(instance))]


def refuse_orphan(instance: Instance, rc: int) -> None:
    """PgError if a command that began with ``locked`` wasn't run, because another one is."""
    if rc == LOCKED:
        raise PgError(f"an earlier run still works on {fork_directory(instance)}: wait until it ends, then run again")


def read_saved(instance: Instance) -> SavedFork | None:
    """What an earlier run left for this one."""
    text = read_text(fork_directory(instance) / "fork.json")
    return SavedFork.from_dict(json.loads(text)) if text else None


def write_saved(instance: Instance, saved: SavedFork) -> None:
    """Leave ``saved`` for a later run."""
    write_atomically(fork_directory(instance) / "fork.json", json.dumps(saved.to_dict()) + "\n", 0o600)


def wal_before(instance: Instance, own: Own, point: TimelineSwitch) -> tuple[int, int, bytes] | None:
    """The last bytes of WAL before ``point``: number of the segment, offset in it, bytes; None if they aren't here."""
    size = own.segment_size
    last = point.switch_lsn - 1
    if last < 0:
        return None
    number = last // size
    begin = max(number * size, point.switch_lsn - 8192)
    name = segment_name(point.timeline, number, size)
    try:
        with open(instance.data_directory / "pg_wal" / name, "rb") as file:
            file.seek(begin - number * size)
            found = file.read(point.switch_lsn - begin)
    except FileNotFoundError:
        return None
    return (number, begin - number * size, found) if len(found) == point.switch_lsn - begin else None


def _csv(file: Path) -> list[list[str]]:
    try:
        with open(file, encoding="utf-8", errors="replace", newline="") as lines:
            return list(csv.reader(lines))
    except FileNotFoundError:
        return []


def _copied(lines: Iterator[str], write: Callable[[str], object]) -> Iterator[str]:
    for line in lines:
        write(line)
        yield line


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    _hand_over(path)


def _hand_over(path: Path) -> None:
    """Make what root wrote the user's who owns the rest."""
    shutil.chown(path, "postgres", "postgres")
    path.chmod(0o600)


def _disk_full(path: Path) -> PgError:
    return PgError(
        f"the disk of {path} is full, expected room for what only this instance holds. Nothing was discarded. "
        "Make room and run again"
    )
