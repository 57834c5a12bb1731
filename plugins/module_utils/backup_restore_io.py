# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore one instance: beside what is there, and then in its place. Every step can be repeated."""

from __future__ import annotations

import dataclasses
import datetime
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import (
    Instance,
    Runner,
    as_postgres,
    is_empty,
    local_conninfo,
    observe,
    one_line,
    psql,
    read_text,
    running_postmaster,
    wal_segment_size,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import Lsn, PgError
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_io import (
    clean_auto_conf,
    sync,
    write_atomically,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_text import without_settings

UNIT = "pg-restored.service"
SOCKETS = Path("/run/pg-restored")
PORT = 5433
POLL = 0.2
#: PostgreSQL runs it in the data directory, wherever that is by then. 1 means that there is no such file. Any other
#: failure must not look like that, for recovery would end there: above 125 PostgreSQL stops instead.
#: https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-PITR-RECOVERY
RESTORE_COMMAND = (
    'pgbackrest --stanza=main --pg1-path="$PWD" --no-archive-async archive-get %f "%p" '
    "|| { [ $? -eq 1 ] && exit 1; exit 255; }"
)
#: Room that is left beside the restored files, for the WAL that is replayed.
MARGIN = 512 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Restore:
    """One restore. *options* are pgBackRest's, for the backup and where it ends; *size* is in bytes, *patience* the
    seconds without progress after which it is given up."""

    instance: Instance
    run: Runner
    options: Sequence[str] = ()
    size: int = 0
    patience: float = 120

    @property
    def directory(self) -> Path:
        """Where the files go first."""
        return self.instance.data_directory.with_name(f"{self.instance.data_directory.name}.restored")

    def flush(self) -> None:
        """Have everything that was committed until now archived. The primary must run."""
        # A commit, for a restore to a point in time ends at the first one after it.
        self._ask("SELECT pg_current_xact_id()")
        wanted = self._ask("SELECT pg_walfile_name(pg_switch_wal() - 1::numeric)")
        deadline = time.monotonic() + self.patience
        while (done := self._ask("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver"))[8:24] < wanted[8:]:
            if time.monotonic() > deadline:
                raise PgError(
                    f"the archive doesn't get the WAL: {wanted} was not archived within {self.patience:.0f} s, "
                    f"the last one was {done or '(none)'}. Nothing was changed. Is the backup host "
                    "up? See the log of PostgreSQL"
                )
            time.sleep(POLL)

    def in_recovery(self) -> bool:
        """Whether the running instance is a standby."""
        return self._ask("SELECT pg_is_in_recovery()") == "t"

    def end_of_archive(self) -> Lsn | None:
        """How far a copy can come of an instance that was stopped cleanly; None if that can't be told.

        PostgreSQL ends a file of WAL when it stops, has it archived, and writes the shutdown checkpoint into the next
        one, which stays here. PgError if something else stays here too.
        """
        seen = observe(self.instance, self.run)
        if not (seen.is_stopped_primary and seen.clean_shutdown and seen.current_lsn):
            return None
        left = sorted(path.stem for path in self.instance.data_directory.glob("pg_wal/archive_status/*.ready"))
        if left:
            raise PgError(
                f"the archive lacks {', '.join(left[:3])}{' and more' if left[3:] else ''}, which only this host has. "
                "Nothing was changed. Bring the backup host back; once PostgreSQL runs again it archives it"
            )
        return Lsn(seen.current_lsn - seen.current_lsn % wal_segment_size(self.instance, self.run))

    def fetch(self) -> None:
        """Bring the files. Goes on where an interrupted one stopped."""
        if not (self.instance.config_directory / "postgresql.conf").exists():
            raise PgError(
                f"{self.instance.config_directory} holds no postgresql.conf, expected a host that is ready for "
                "PostgreSQL. Nothing was changed. Run site.yml first"
            )
        self.stop()
        if running_postmaster(self.directory) is None:
            # Left by a host that crashed; pgBackRest would take it for a running server for ever.
            (self.directory / "postmaster.pid").unlink(missing_ok=True)
        self._make_room()
        self._must(
            "pgbackrest restore",
            as_postgres(
                "pgbackrest",
                "--stanza=main",
                f"--pg1-path={self.directory}",
                "--delta",
                # Of the old instance they lie elsewhere, and must not be written over.
                f"--tablespace-map-all={self.directory}-tablespaces",
                f"--recovery-option=restore_command={RESTORE_COMMAND}",
                *self.options,
                "restore",
            ),
        )

    def check_room(self) -> None:
        """PgError if it can't be restored beside what is there."""
        folder = self.directory
        if not is_empty(self.instance.data_directory / "pg_tblspc"):
            raise PgError(
                f"the instance in {self.instance.data_directory} has tablespaces, expected none: restore it by hand "
                "with pgbackrest restore. Nothing was changed"
            )
        there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
        parent = folder.parent if folder.parent.exists() else folder.parents[1]
        free = shutil.disk_usage(parent).free + there
        if free < self.size + MARGIN:
            raise PgError(
                f"{folder.parent} has {free} bytes free, expected {self.size + MARGIN} beside the data directory, "
                "which is kept. Nothing was changed. Make room, or give it a larger file system",
                free=free,
                needed=self.size + MARGIN,
            )

    def _make_room(self) -> None:
        self.check_room()
        folder = self.directory
        if folder.exists() and not any((folder / name).exists() for name in ("PG_VERSION", "backup.manifest")):
            # Begun, and of no use to go on with.
            shutil.rmtree(folder)
        if not folder.parent.exists():
            folder.parent.mkdir()
            shutil.chown(folder.parent, "postgres", "postgres")
        folder.mkdir(mode=0o700, exist_ok=True)
        shutil.chown(folder, "postgres", "postgres")

    def look(self, until: Lsn | None = None) -> dict[str, Any]:
        """Start what was restored, out of everybody's sight, and stop it where it should end, which is *until* if the
        options don't say. What it holds."""
        signal = self.directory / "standby.signal"
        if until is not None:
            # It would end its recovery by itself at the end of the archive, and be no copy any more.
            signal.touch(mode=0o600)
            shutil.chown(signal, "postgres", "postgres")
        self._start()
        seen = self._wait_for(lambda state, lsn: state == "paused" or (until is not None and lsn >= until))
        seen = {**seen, **self._contents()}
        self.stop()
        signal.unlink(missing_ok=True)
        return seen

    def run_beside(self) -> dict[str, Any]:
        """Start what was restored, out of everybody's sight, and let it accept writes where it should end. What it
        holds."""
        self._start()
        seen = self._wait_for(lambda state, _lsn: state in ("paused", "not in recovery"))
        if seen["state"] == "paused":
            self._look("SELECT pg_wal_replay_resume()")
            seen = self._wait_for(lambda state, _lsn: state == "not in recovery")
        return {**seen, **self._contents()}

    def _start(self) -> None:
        self.stop()
        settings = {
            "config_file": self.instance.config_directory / "postgresql.conf",
            "data_directory": self.directory,
            "external_pid_file": "",
            "listen_addresses": "",
            "unix_socket_directories": SOCKETS,
            "port": PORT,
            "cluster_name": "restored",
            # Whatever it becomes, it must never write into the archive of the real one.
            "archive_mode": "off",
            "primary_conninfo": "",
            "synchronous_standby_names": "",
            "logging_collector": "off",
        }
        server = [self.instance.binary("postgres"), "-D", str(self.directory)]
        server += [f"--{name}={value}" for name, value in settings.items()]
        unit = ["--uid=postgres", "--gid=postgres", "--property=RuntimeDirectory=pg-restored", "--collect"]
        # No `notify`: it would be ready only once it takes connections, which may take long.
        self._must("systemd-run", ["systemd-run", "--quiet", f"--unit={UNIT}", *unit, "--", *server])

    def _wait_for(self, there: Callable[[str, Lsn], bool]) -> dict[str, Any]:
        last, since, said = "", time.monotonic(), ""
        while time.monotonic() - since < self.patience:
            rc, out, err = self._look(
                "SELECT CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() ELSE 'not in recovery' END, "
                "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, "
                "pg_last_xact_replay_timestamp(), (SELECT timeline_id FROM pg_control_checkpoint())"
            )
            if rc == 0:
                state, lsn, moment, timeline = out.strip().split("|")
                if there(state, Lsn.parse(lsn)):
                    return {"state": state, "lsn": lsn, "last_commit": moment, "timeline": int(timeline)}
                said = lsn
            elif self.run(["systemctl", "is-active", "--quiet", UNIT])[0] != 0:
                break
            else:
                # Before it takes connections its process tells how far it is.
                said = self.run(["pgrep", "-af", "restored: startup"])[1] or err
            if said != last:
                last, since = said, time.monotonic()
            time.sleep(POLL)
        journal = self.run(["journalctl", "-u", UNIT, "-n", "12", "--no-pager", "-o", "cat"])[1].strip()
        self.stop()
        raise PgError(
            f"the restored database didn't come to the wanted point. It is left in {self.directory}, and nothing else "
            f"was changed. The end of its log:\n{journal}"
        )

    def _contents(self) -> dict[str, Any]:
        rc, out, err = self._look("SELECT datname, pg_database_size(oid) FROM pg_database WHERE datallowconn")
        if rc != 0:
            raise PgError(f"the restored database can't be read: {one_line(err)}. Nothing else was changed")
        sizes = dict(line.split("|") for line in out.splitlines())
        return {"databases": {name: int(size) for name, size in sizes.items()}}

    def _look(self, sql: str) -> tuple[int, str, str]:
        argv = [
            self.instance.binary("psql"),
            "-XAtqw",
            "-h",
            str(SOCKETS),
            "-p",
            str(PORT),
            "-d",
            "postgres",
            "-c",
            sql,
        ]
        return self.run(as_postgres(*argv, bound=10))

    def stop(self) -> None:
        """Stop the instance that runs beside, if it does."""
        if self.run(["systemctl", "is-active", "--quiet", UNIT])[0] == 0:
            self._must("systemctl stop", ["systemctl", "stop", UNIT])

    def place(self, now: datetime.datetime) -> Path | None:
        """Put what was restored in the place of the instance, which must be stopped. Where the old data lies now."""
        self.stop()
        data = self.instance.data_directory
        if running_postmaster(data) is not None:
            raise PgError(f"PostgreSQL still runs in {data}, expected it stopped. Nothing was changed")
        # A promotion is the end of this recovery, where the one beside only paused.
        auto = self.directory / "postgresql.auto.conf"
        text = read_text(auto)
        if "recovery_target" in text:
            kept = without_settings(text, "recovery_target_action") or text
            write_atomically(auto, f"{kept.rstrip()}\nrecovery_target_action = 'promote'\n", 0o600)
        old = None
        if not is_empty(data):
            old = data.with_name(f"{data.name}.before-{now:%Y%m%dT%H%M%SZ}")
            data.rename(old)
        elif data.exists():
            data.rmdir()
        self.directory.rename(data)
        sync(data.parent)
        return old

    def finish(self) -> dict[str, Any]:
        """Wait until the instance in its place accepts writes, and forget that it was restored."""
        deadline, last = time.monotonic() + self.patience, ("", "")
        while time.monotonic() < deadline:
            try:
                said, _bar, lsn = self._ask(
                    "SELECT pg_is_in_recovery() || '|' || CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() "
                    "ELSE pg_current_wal_lsn() END"
                ).partition("|")
            except PgError as error:
                # Before it takes connections its process tells how far it is.
                said, lsn = str(error), self.run(["pgrep", "-af", "startup recovering"])[1]
            if said == "false":
                break
            if (said, lsn) != last:
                deadline, last = time.monotonic() + self.patience, (said, lsn)
            time.sleep(POLL)
        else:
            raise PgError(
                f"the restored instance doesn't accept writes: {said}. See {self.instance.log_file}; the old data "
                "directory lies beside the new one"
            )
        clean_auto_conf(self.instance.data_directory)
        self._ask("SELECT pg_reload_conf()")
        timeline = self._ask("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)")
        return {"timeline": int(timeline, 16), "lsn": lsn}

    @property
    def there(self) -> bool:
        """Whether anything was restored beside."""
        return self.directory.exists()

    def remove(self) -> bool:
        """Remove what was restored beside; whether there was anything."""
        self.stop()
        there = self.there
        if there:
            shutil.rmtree(self.directory)
        return there

    def _ask(self, sql: str) -> str:
        """The only value of ``sql``, from the instance itself."""
        postmaster = running_postmaster(self.instance.data_directory)
        if postmaster is None:
            raise PgError(f"PostgreSQL doesn't run in {self.instance.data_directory}, expected a running instance")
        conninfo = local_conninfo(self.instance, postmaster)
        # Nobody was promised what is written here, and a standby may be what is missing.
        conninfo["options"] += " -c synchronous_commit=local"
        rc, out, err = self.run(psql(self.instance, conninfo, sql))
        if rc != 0:
            raise PgError(f"the instance can't be asked: {one_line(err) or 'no answer in time'}")
        return out.strip()

    def _must(self, what: str, argv: Sequence[str]) -> None:
        rc, out, err = self.run(argv)
        if rc != 0:
            said = re.sub(r"^.*?P00\s+ERROR:\s*", "", one_line(err or out))
            raise PgError(f"{what} failed: {said}. The running database was not touched")
