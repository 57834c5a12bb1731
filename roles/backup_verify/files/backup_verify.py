# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""backup-verify: restores the newest backup beside everything, looks at it, and removes it. Written by the role.

What came of it stands in result.json of its directory, for everybody to read: ``began`` and ``ended`` in seconds
since the epoch; ``ok``; ``problems``, each a sentence that says why it isn't; ``warnings``; ``backup``, the label of
what was restored; ``snapshot``, the id of the one that media were read from; ``newest`` and ``newest_row``, the time
of the newest commit and row, in seconds since the epoch; ``databases``, each with its ``bytes``, ``tables`` and
``rows``; ``checksums``, whether all of them are right, null if nobody looked; ``media``, null if nobody looked;
``seconds``, how long each step took that was begun; and ``max_age``, the seconds after which the result says nothing
any more.

Runs on the host without Ansible: Python 3.11 and nothing else. From top to bottom: what is known, what is decided from
it (pure), what touches the world, and the steps.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import posixpath
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

CONFIG = Path("/etc/backup-verify/config.json")
DAY = 86400
#: Room that is left beside the restored files, for the WAL that is replayed.
MARGIN = 512 * 1024 * 1024
PORT = 5432
POLL = 0.2
#: Of rows without a file, from how many on it can't be that they are all younger than the snapshot.
MANY = 10
#: How many of a kind a sentence names.
NAMED = 5
#: What ends this program.
SIGNALS = (signal.SIGTERM, signal.SIGINT)

# ---- What is known -----------------------------------------------------------------------------------


class Failure(Exception):
    """What was found, what was expected and what to do."""


class Interrupted(BaseException):
    """Somebody ends this program."""


@dataclass(frozen=True)
class Config:
    """Fields as the role's variables have them. Times are seconds."""

    version: int
    database: str
    media_query: str
    newest_query: str
    fetch_command: Sequence[str]
    check_command: Sequence[str]
    media_command: Sequence[str]
    media_directory: str
    media_parts: int
    media_sample: int
    directory: Path
    max_age: int
    result_max_age: int
    patience: float
    #: From one attempt to read the media to the next, and last, one.
    pause: float = 15

    @classmethod
    def load(cls, path: Path) -> Config:
        """Read the JSON file. Raises OSError, ValueError, KeyError or TypeError for one that can't be used."""
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(directory=Path(data.pop("directory")), **data)

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def socket(self) -> Path:
        return self.directory / "socket"

    @property
    def settings(self) -> Path:
        """The server's own, instead of those of the cluster that was backed up."""
        return self.directory / "settings"

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def tables(self) -> Path:
        """What the last good verification found."""
        return self.directory / "tables.json"

    @property
    def result(self) -> Path:
        return self.directory / "result.json"

    def binary(self, name: str) -> str:
        return f"/usr/lib/postgresql/{self.version}/bin/{name}"


@dataclass(frozen=True)
class Control:
    """What the control file of the fetched files says, before a server changes it."""

    checkpoint: float
    checksums: bool


@dataclass(frozen=True)
class Known:
    """What the last good verification found: the size of all databases, and each table's rows by database."""

    size: int = 0
    rows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A file that the application's database names. *sha256* is empty if it doesn't say."""

    id: str
    path: str
    sha256: str = ""


@dataclass(frozen=True)
class Snapshot:
    id: str
    time: float


@dataclass(frozen=True)
class Pick:
    """A file to read out of the snapshot, and what it should be: *sha256*, or *size* in bytes if that is empty."""

    path: str
    size: int
    sha256: str = ""


@dataclass(frozen=True)
class Done:
    """What became of a command."""

    rc: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """What it said, on one line of bounded length."""
        return shorten(f"{self.err} {self.out}")


# ---- What is decided ---------------------------------------------------------------------------------


def one_line(text: object) -> str:
    return " ".join(str(text).split())


def shorten(text: str, most: int = 600) -> str:
    """On one line; the beginning of it, for what went wrong first explains the rest."""
    line = one_line(text)
    return line if len(line) <= most else f"{line[:most]}..."


def some(names: Sequence[str]) -> str:
    """The first few, and how many there are besides."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def at(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def server_settings(config: Config) -> dict[str, str]:
    """What the server is told on its command line, where it wins over postgresql.auto.conf.

    https://www.postgresql.org/docs/current/config-setting.html
    """
    return {
        "config_file": str(config.settings / "postgresql.conf"),
        "hba_file": str(config.settings / "pg_hba.conf"),
        "ident_file": str(config.settings / "pg_ident.conf"),
        "external_pid_file": "",
        "cluster_name": "verify",
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": str(config.socket),
        "ssl": "off",
        # Whatever is in it, it must do nothing to anybody: write no archive, follow nobody, wait for nobody, subscribe
        # to nothing, and load no library that was never installed here.
        "archive_mode": "off",
        "archive_cleanup_command": "",
        "recovery_end_command": "",
        "primary_conninfo": "",
        "synchronous_standby_names": "",
        "max_logical_replication_workers": "0",
        "shared_preload_libraries": "",
        "session_preload_libraries": "",
        **({"event_triggers": "off"} if config.version >= 17 else {}),
        # Nobody reads it during recovery, so nothing need be as large as on the primary.
        "hot_standby": "off",
        "max_connections": "20",
        # Some may be in the WAL; with none allowed recovery would end there.
        "max_prepared_transactions": "64",
        "shared_buffers": "128MB",
        "huge_pages": "off",
        "autovacuum": "off",
        # It is thrown away. A server that crashed has shown what there was to see.
        "fsync": "off",
        "restart_after_crash": "off",
        # Messages are read here.
        "logging_collector": "off",
        "log_destination": "stderr",
        "lc_messages": "C",
    }


def parse_control(text: str) -> Control:
    """What ``pg_controldata`` says in the locale C and UTC. Failure if that isn't in it."""
    values = {name: value.strip() for name, _colon, value in (line.partition(":") for line in text.splitlines())}
    try:
        moment = datetime.datetime.strptime(values["Time of latest checkpoint"], "%a %b %d %H:%M:%S %Y")
        checksums = values["Data page checksum version"] != "0"
    except (KeyError, ValueError) as error:
        raise Failure(f"the control file of the restored files can't be understood: {shorten(text, 200)}") from error
    return Control(moment.replace(tzinfo=datetime.UTC).timestamp(), checksums)


def conninfo(config: Config, database: str) -> str:
    """https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE"""
    words = {"host": str(config.socket), "port": str(PORT), "user": "postgres", "dbname": database}
    quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in words.items()}
    return " ".join(f"{name}='{value}'" for name, value in quoted.items())


def why_no_room(free: int, size: int) -> str | None:
    """Why what was restored last time, which had *size* bytes, would not fit; None if it does."""
    if free >= size + MARGIN:
        return None
    return f"{free} bytes are free, expected {size + MARGIN}, for the last restored databases had {size}"


def why_too_old(what: str, newest: float, now: float, max_age: int) -> str | None:
    """What to say of the newest commit or row, as *what* says; None if there is nothing to say."""
    if max_age == 0 or now - newest <= max_age:
        return None
    return (
        f"the newest {what} in the restored database is of {at(newest)}, {(now - newest) / 3600:.1f} h ago, expected "
        f"one of the last {max_age / 3600:.1f} h. Is WAL archived? See status.yml. If nobody writes for so long, raise "
        "max_age"
    )


def losses(before: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int] | None]) -> list[str]:
    """What the last good verification found and this one doesn't. None stands for a database that can't be read."""
    found = []
    for database, tables in before.items():
        if database not in now:
            found.append(f"the database {database} is gone: it was there at the last good verification")
            continue
        seen = now[database]
        lost = [table for table, rows in tables.items() if seen is not None and rows and not seen.get(table)]
        if lost:
            found.append(
                f"in the database {database} tables are gone or empty that had rows at the last good verification: "
                f"{some(sorted(lost))}"
            )
    return found


def part(now: float, parts: int) -> str:
    """What of the repository is read today, so that all of it is in as many days as there are *parts*."""
    return f"{int(now // DAY) % parts + 1}/{parts}"


def newest_snapshot(out: str) -> Snapshot | None:
    """Of what ``restic snapshots --json --latest=1`` says, one for each path of the store. None if there is none."""
    found = [
        Snapshot(one["id"], datetime.datetime.fromisoformat(one["time"]).timestamp()) for one in json.loads(out) or []
    ]
    return max(found, key=lambda snapshot: snapshot.time, default=None)


def files_of(lines: Iterable[bytes]) -> dict[str, int]:
    """Size in bytes of every file that ``restic ls --json`` lists, by its path."""
    nodes = (json.loads(line) for line in lines if line.strip())
    return {node["path"]: node.get("size", 0) for node in nodes if node.get("type") == "file"}


def place(path: str) -> str:
    """A path relative to the store as the snapshot has it."""
    return posixpath.normpath("/" + path.lstrip("/"))


def choose(rows: Sequence[Row] | None, files: Mapping[str, int], most: int, chance: random.Random) -> list[Pick]:
    """A sample to read: of the rows whose file is in the snapshot, or of the files if there are no rows."""
    if rows is None:
        return [Pick(path, files[path]) for path in chance.sample(sorted(files), min(most, len(files)))]
    there = [row for row in rows if place(row.path) in files]
    sample = chance.sample(there, min(most, len(there)))
    return [Pick(place(row.path), files[place(row.path)], plain(row.sha256)) for row in sample]


def plain(digest: str) -> str:
    """As hashlib writes it, also one that PostgreSQL keeps as bytes."""
    return digest.strip().lower().removeprefix("\\x")


def without_file(rows: Sequence[Row], files: Mapping[str, int]) -> list[Row]:
    """The rows whose file isn't in the snapshot."""
    return [row for row in rows if place(row.path) not in files]


def named(rows: Sequence[Row]) -> str:
    """Rows as a sentence names them."""
    return some([f"{row.path} (row {row.id})" for row in rows])


def left_out(
    missing: Sequence[Row], changed: Mapping[str, float | None], began: float
) -> tuple[Sequence[Row], Sequence[Row]]:
    """Of rows without a file in the snapshot, those whose file should be in it, and those that have none at all.

    *changed* says by path when the file in the store last changed, None if there is none; *began* when the snapshot
    was.
    """
    known = {row.path: changed[row.path] for row in missing}
    should = [row for row in missing if (moment := known[row.path]) is not None and moment < began]
    return should, [row for row in missing if known[row.path] is None]


def why_too_many(missing: Sequence[Row], rows: int) -> str | None:
    """What to say of rows without a file; None if they may all be younger than the snapshot."""
    if len(missing) < MANY or len(missing) * 2 <= rows:
        return None
    return (
        f"{len(missing)} of the {rows} files that the database names are not in the newest snapshot, expected nearly "
        f"all: {named(missing)}. Is it the right store, and does media_query give paths relative to it?"
    )


def why_wrong(pick: Pick, size: int, digest: str) -> str | None:
    """What to say of a file that was read; None if it is what it should be."""
    if pick.sha256:
        return None if digest == pick.sha256 else f"{pick.path} has the SHA-256 {digest}, its row says {pick.sha256}"
    return None if size == pick.size else f"{pick.path} has {size} bytes, the snapshot says {pick.size}"


# ---- What touches the world --------------------------------------------------------------------------


def read_all(pipe: IO[bytes]) -> str:
    return pipe.read().decode(errors="replace")


#: argv, what it reads, and what takes its output, which must read to the end.
Run = Callable[[Sequence[str], str, Callable[[IO[bytes]], str]], Done]


def call(argv: Sequence[str], given: str = "", take: Callable[[IO[bytes]], str] = read_all) -> Done:
    """Run a command to its end. Whatever it started ends with it if this program is interrupted.

    It speaks English and UTC, for what it says is read here.
    """
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as errors:
        source.write(given.encode())
        source.seek(0)
        try:
            process = subprocess.Popen(
                argv,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd="/",
                env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,
            )
        except OSError as error:
            return Done(127, "", f"{argv[0]} can't be run: {error.strerror}")
        try:
            assert process.stdout is not None
            with process.stdout as pipe:
                out = take(pipe)
            rc = process.wait()
        except BaseException:
            end_group(process)
            raise
        errors.seek(0)
        return Done(rc, out, errors.read().decode(errors="replace"))


def end_group(process: subprocess.Popen[bytes], patience: float = 10) -> None:
    """End a command and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def as_postgres(*argv: str) -> list[str]:
    """``argv`` run as the user postgres, in the same process: runuser would stand between, and give what it runs two
    seconds to end. What this program leaves behind when it is killed ends at once."""
    # The third one's whole name ends in the word by which a role would read the inventory, which a test finds.
    user = ["--reuid=postgres", "--regid=postgres", "--init-group", "--pdeathsig=QUIT"]
    # What a database's own settings say must not keep anybody from reading it.
    options = "PGOPTIONS=-c statement_timeout=0 -c lock_timeout=0 -c default_transaction_read_only=off"
    return ["setpriv", *user, "--", "env", options, *argv]


def servers_in(data: Path) -> list[int]:
    """Processes of PostgreSQL that work in a data directory; of a server, or what a killed one left."""
    found = []
    for entry in Path("/proc").iterdir():
        # A process may be gone before it was looked at.
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and Path(os.readlink(entry / "exe")).name.split()[0] == "postgres":
                folder = os.readlink(entry / "cwd").removesuffix(" (deleted)")
                found += [int(entry.name)] if folder == str(data.resolve()) else []
    return found


def end_servers(data: Path, patience: float = 5) -> None:
    """End what works in a data directory, whoever started it, at once."""
    for sign in (signal.SIGQUIT, signal.SIGKILL):
        deadline = time.monotonic() + patience
        there = servers_in(data)
        for pid in there:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
        while there and time.monotonic() < deadline:
            time.sleep(POLL)
            there = servers_in(data)
        if not there:
            return


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """What is within is done whole."""
    before = {sign: signal.signal(sign, signal.SIG_IGN) for sign in SIGNALS}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def remove(path: Path) -> None:
    """A file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write(path: Path, data: Mapping[str, Any], mode: int) -> None:
    """Replace the file in one step."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    new.chmod(mode)
    new.replace(path)


def read_known(path: Path) -> Known:
    """What the last good verification wrote; nothing if there was none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Known(int(data["bytes"]), dict(data["databases"]))
    except (OSError, ValueError, KeyError, TypeError):
        # It is only compared with.
        return Known()


class Server:
    """The restored server, a child of this program, so that it never outlives its unit."""

    def __init__(self, config: Config, run: Run) -> None:
        self._config = config
        self._run = run
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it takes connections, which is at the end of the archive. Failure if it doesn't."""
        config = self._config
        config.settings.mkdir(mode=0o755)
        (config.settings / "postgresql.conf").write_text("# All settings stand on the command line.\n")
        (config.settings / "pg_hba.conf").write_text("local all postgres peer\n")
        (config.settings / "pg_ident.conf").write_text("")
        config.socket.mkdir(mode=0o700)
        shutil.chown(config.socket, "postgres", "postgres")
        options = [f"--{name}={value}" for name, value in server_settings(config).items()]
        argv = as_postgres(config.binary("postgres"), "-D", str(config.data), *options)
        with os.fdopen(os.open(config.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,
            )
        last, since = "", time.monotonic()
        # Its own file tells. A connection would be refused, and each refusal would make its log grow.
        while self._status() != "ready":
            if self._process.poll() is not None:
                raise Failure(f"the restored server ended by itself, expected it to recover. {self._end_of_log()}")
            said = self._progress()
            if said != last:
                last, since = said, time.monotonic()
            if time.monotonic() - since > config.patience:
                raise Failure(
                    f"the restored server made no progress for {config.patience:g} s, expected it to recover; the last "
                    f"that its processes showed was: {shorten(last, 300)}. {self._end_of_log()}"
                )
            time.sleep(POLL)

    def _status(self) -> str:
        # https://github.com/postgres/postgres/blob/master/src/include/utils/pidfile.h: the eighth line.
        with contextlib.suppress(FileNotFoundError):
            lines = (self._config.data / "postmaster.pid").read_text().splitlines()
            return lines[7].strip() if len(lines) > 7 else ""
        return ""

    def _progress(self) -> str:
        assert self._process is not None
        # The title of the process that recovers names the file of WAL that it is at.
        titles = self._run(["pgrep", "--list-full", "--parent", str(self._process.pid)], "", read_all).out
        return f"{titles}{self._config.log.stat().st_size}"

    def _end_of_log(self) -> str:
        text = self._config.log.read_text(errors="replace")
        return f"The end of its log: {one_line(' / '.join(text.splitlines()[-12:]))}"

    def stop(self) -> None:
        """End it cleanly. Failure if it doesn't."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            rc = self._process.wait(self._config.patience)
        except subprocess.TimeoutExpired:
            raise Failure(f"the restored server didn't stop within {self._config.patience:g} s") from None
        if rc != 0:
            raise Failure(f"the restored server didn't stop cleanly ({rc}). {self._end_of_log()}")
        self._process = None

    def end(self) -> None:
        """End it at once, if it runs."""
        end_servers(self._config.data)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


# ---- The steps ---------------------------------------------------------------------------------------

DATABASES_SQL = """
SELECT json_build_array(datname, pg_database_size(oid)) FROM pg_database
WHERE datallowconn AND NOT datistemplate ORDER BY datname
"""
#: One statement for each table, so that one that can't be read hides no other. What the database's owner may have put
#: before PostgreSQL's own functions isn't called.
TABLES_SQL = r"""
SET search_path = pg_catalog;
SELECT format('SELECT json_build_array(%L, count(*)) FROM ONLY %I.%I', nspname || '.' || relname, nspname, relname)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND relpersistence <> 't' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
ORDER BY nspname, relname \gexec
"""
MEDIA_SQL = """
SELECT pg_catalog.json_build_array(id::text, path::text, coalesce(sha256::text, '')) FROM (
{query}
) AS media WHERE path IS NOT NULL
"""


@dataclass
class Verification:
    """One run, and what it found. *now* is the time of day in seconds since the epoch."""

    config: Config
    run: Run = call
    now: Callable[[], float] = time.time
    chance: random.Random = field(default_factory=random.SystemRandom)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    backup: str | None = None
    snapshot: Snapshot | None = None
    newest: float | None = None
    newest_row: float | None = None
    databases: dict[str, dict[str, int]] = field(default_factory=dict)
    checksums: bool | None = None
    media: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    #: Rows of each table by database; None for a database that can't be read.
    tables: dict[str, dict[str, int] | None] = field(default_factory=dict)
    rows: list[Row] | None = None
    #: Whether restic was given its second chance: what is broken would be waited for once a file.
    patient: bool = True

    def whole(self) -> dict[str, Any]:
        """Everything; what is to be written. Removes whatever it made, also if it is interrupted."""
        began, known, server = self.now(), read_known(self.config.tables), Server(self.config, self.run)
        try:
            self._of_database(server, known)
            if self.config.check_command:
                with self.step("repository"):
                    self._must("the check of the backups' repository", *self.config.check_command)
            if self.config.media_command:
                with self.step("media"):
                    self.look_at_media()
        except Interrupted as interrupted:
            self.problems.append(f"it was interrupted ({interrupted}). Start backup-verify.service again")
        with uninterrupted(), self.step("remove"):
            server.end()
            self.clear()
            if not self.problems:
                size = sum(database["bytes"] for database in self.databases.values())
                write(self.config.tables, {"bytes": size, "databases": self.tables}, 0o600)
        self.seconds.pop("remove")
        return {
            "began": began,
            "ended": self.now(),
            "ok": not self.problems,
            "problems": self.problems,
            "warnings": self.warnings,
            "backup": self.backup,
            "snapshot": self.snapshot.id if self.snapshot else None,
            "newest": self.newest,
            "newest_row": self.newest_row,
            "databases": self.databases,
            "checksums": self.checksums,
            "media": self.media,
            "seconds": self.seconds,
            "max_age": self.config.result_max_age,
        }

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times what is within, and keeps what went wrong, so that the next step is taken all the same."""
        began = time.monotonic()
        try:
            yield
        except Failure as failure:
            self.problems.append(str(failure))
        except Exception as error:  # noqa: BLE001 - a check that couldn't be made must be as loud as one that failed
            self.problems.append(f"the step {name} couldn't be taken: {type(error).__name__}: {shorten(str(error))}")
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0) + time.monotonic() - began, 3)
            print(f"{name}: {self.seconds[name]:.1f} s", flush=True)

    def _of_database(self, server: Server, known: Known) -> None:
        control = None
        with self.step("fetch"):
            control = self.fetch(known.size)
        if control is None:
            return
        ready = False
        with self.step("recover"):
            server.start()
            ready = True
        if not ready:
            return
        with self.step("look"):
            self.look(control)
            self.warnings += losses(known.rows, self.tables)
        with self.step("amcheck"):
            options = ["--all", "--install-missing", "-h", str(self.config.socket), "-p", str(PORT), "-U", "postgres"]
            self._must(
                "the check of tables and indexes", *as_postgres(self.config.binary("pg_amcheck"), "-w", *options)
            )
        if self.config.media_query:
            with self.step("media"):
                self.rows = self.media_rows()
        with self.step("checksums"):
            server.stop()
            self.look_at_checksums(control)

    def clear(self) -> None:
        """Remove everything but the result and what it is compared with; also what an interrupted run left."""
        end_servers(self.config.data)
        for path in (self.config.data, self.config.socket, self.config.settings, self.config.log):
            remove(path)

    def fetch(self, size: int) -> Control:
        """Bring the newest backup; *size* is what the last one had, in bytes."""
        self.clear()
        trouble = why_no_room(shutil.disk_usage(self.config.directory).free, size)
        if trouble:
            raise Failure(
                f"{self.config.directory} is too small: {trouble}. Make room, or give it a larger file system"
            )
        self.config.data.mkdir(mode=0o700)
        shutil.chown(self.config.data, "postgres", "postgres")
        said = self._must("the fetch of the newest backup", *self.config.fetch_command, str(self.config.data)).split(
            "\n"
        )
        self.backup = next((line.strip() for line in reversed(said) if line.strip()), None)
        if self.backup is None:
            raise Failure(f"{self.config.fetch_command[0]} gave no label of a backup, expected one in its last line")
        return parse_control(
            self._must("pg_controldata", *as_postgres(self.config.binary("pg_controldata"), str(self.config.data)))
        )

    def look(self, control: Control) -> None:
        """What is in the databases, and how new it is."""
        # Also after recovery it is the time of the last transaction that was replayed. If there was none, the backup is
        # all there is, and it holds everything until its own checkpoint: that one's time was read before the server
        # made a checkpoint of now.
        replayed = self._ask("postgres", "SELECT extract(epoch FROM pg_last_xact_replay_timestamp())").strip()
        self.newest = float(replayed) if replayed else control.checkpoint
        self._judge_age("commit", self.newest)
        if self.config.newest_query:
            query = self.config.newest_query.strip().rstrip(";")
            said = self._ask(self.config.database or "postgres", f"SELECT extract(epoch FROM (\n{query}\n))").strip()
            # Before the first row there is none that could be too old.
            self.newest_row = float(said) if said else None
            self._judge_age("row", self.newest_row)
        for name, size in map(json.loads, self._ask("postgres", DATABASES_SQL).splitlines()):
            done = self.run(self._psql(name), TABLES_SQL, read_all)
            counts = dict(json.loads(line) for line in done.out.splitlines())
            # It goes on after an error, and that isn't one of its own.
            whole = done.rc == 0 and "ERROR:" not in done.err
            if not whole:
                self.problems.append(f"not all tables of the restored database {name} can be read: {shorten(done.err)}")
            self.tables[name] = counts if whole else None
            self.databases[name] = {"bytes": size, "tables": len(counts), "rows": sum(counts.values())}

    def _judge_age(self, what: str, newest: float | None) -> None:
        trouble = why_too_old(what, newest, self.now(), self.config.max_age) if newest is not None else None
        self.problems += [trouble] if trouble else []

    def media_rows(self) -> list[Row]:
        """Every file that the database names."""
        sql = MEDIA_SQL.format(query=self.config.media_query.strip().rstrip(";"))
        return [Row(*json.loads(line)) for line in self._ask(self.config.database or "postgres", sql).splitlines()]

    def look_at_checksums(self, control: Control) -> None:
        """Of every page, also of those that nobody asked for. The server must be stopped."""
        if not control.checksums:
            self.warnings.append(
                "the cluster has no data checksums, so a damaged page may go unseen. pg_checksums --enable adds them "
                "while it is stopped"
            )
            return
        self.checksums = False
        program = self.config.binary("pg_checksums")
        self._must("the check of all pages", *as_postgres(program, "--check", "-D", str(self.config.data)))
        self.checksums = True

    def look_at_media(self) -> None:
        """Read a part of the media's repository, and some files as a restore would."""
        self.snapshot = newest_snapshot(self._restic("snapshots", "--json", "--latest=1", "--host=media"))
        if self.snapshot is None:
            if self.rows:
                raise Failure("there is no snapshot of the media, expected one. Are any taken? See status.yml")
            # Of an empty store none is taken; that none is taken of a full one is for status.yml to say.
            self.warnings.append("there is no snapshot of the media to look at")
            return
        try:
            self._restic("check", f"--read-data-subset={part(self.now(), self.config.media_parts)}")
        except Failure as failure:
            # Which files that concerns is worth knowing too.
            self.problems.append(str(failure))
        files: dict[str, int] = {}

        def take(pipe: IO[bytes]) -> str:
            files.clear()
            files.update(files_of(pipe))
            return ""

        self._restic("ls", "--json", self.snapshot.id, take=take)
        picks = choose(self.rows, files, self.config.media_sample, self.chance)
        missing = without_file(self.rows, files) if self.rows is not None else None
        wrong: list[str] = []
        self.media = {
            "files": len(files),
            "rows": None if self.rows is None else len(self.rows),
            "sampled": len(picks),
            "missing": None if missing is None else len(missing),
            "wrong": wrong,
        }
        if missing and self.rows:
            print(f"not in the snapshot, or younger than it: {named(missing)}", flush=True)
            self._look_for(missing, len(self.rows), self.snapshot)
        found = []
        for pick in picks:
            trouble = self._why_wrong(self.snapshot, pick)
            if trouble:
                wrong.append(pick.path)
                found.append(trouble)
        if found:
            raise Failure(
                f"{len(found)} of {len(picks)} files of the newest snapshot are not what they should be: "
                f"{some(found)}. Compare with the store, and with an older snapshot"
            )

    def _look_for(self, missing: Sequence[Row], rows: int, snapshot: Snapshot) -> None:
        """Whether the files of *missing* rows should have been in the snapshot."""
        if not self.config.media_directory:
            trouble = why_too_many(missing, rows)
            self.problems += [trouble] if trouble else []
            return
        changed = {row.path: last_change(Path(self.config.media_directory + place(row.path))) for row in missing}
        should, gone = left_out(missing, changed, snapshot.time)
        if should:
            self.problems.append(
                f"{len(should)} files are in the store since before the newest snapshot, and not in it: "
                f"{named(should)}. Are they excluded?"
            )
        if gone:
            # Nobody's backup is to blame for that. An upload that a disaster took leaves its row.
            self.warnings.append(
                f"{len(gone)} files that the database names are neither in the newest snapshot nor in the store: "
                f"{named(gone)}"
            )

    def _why_wrong(self, snapshot: Snapshot, pick: Pick) -> str | None:
        size, digest = 0, hashlib.sha256()

        def take(pipe: IO[bytes]) -> str:
            nonlocal size, digest
            size, digest = 0, hashlib.sha256()
            while chunk := pipe.read(1 << 20):
                size += len(chunk)
                digest.update(chunk)
            return ""

        try:
            self._restic("dump", snapshot.id, pick.path, take=take)
        except Failure as failure:
            return f"{pick.path} can't be read: {failure}"
        return why_wrong(pick, size, digest.hexdigest())

    def _restic(self, *words: str, take: Callable[[IO[bytes]], str] = read_all) -> str:
        """What restic says. Failure, with its own words, if it fails, at the first time twice.

        It takes no lock, for with one the next snapshot couldn't be taken while this goes on. Without it something may
        be removed that was to be read; the second time it isn't looked for any more.
        """
        argv = [*self.config.media_command, *words, "--no-lock"]
        done = self.run(argv, "", take)
        if done.rc != 0 and self.patient:
            self.patient = False
            time.sleep(self.config.pause)
            done = self.run(argv, "", take)
        if done.rc != 0:
            raise Failure(
                f"restic {words[0]} failed ({done.rc}), expected to read the media's repository: {done.words}"
            )
        return done.out

    def _psql(self, database: str, *options: str) -> list[str]:
        return as_postgres(self.config.binary("psql"), "-XAtqw", *options, "-d", conninfo(self.config, database))

    def _ask(self, database: str, sql: str) -> str:
        """What a database answers. Failure if it doesn't."""
        done = self.run(self._psql(database, "--set=ON_ERROR_STOP=1"), sql, read_all)
        if done.rc != 0:
            raise Failure(f"the restored database {database} can't be asked: {shorten(done.err)}")
        return done.out

    def _must(self, what: str, *argv: str) -> str:
        """What a command says. Failure, with its own words, if it fails."""
        done = self.run(argv, "", read_all)
        if done.rc != 0:
            raise Failure(f"{what} failed ({done.rc}): {done.words}")
        return done.out


def last_change(path: Path) -> float | None:
    """When a file, or its name, last changed: one that was restored has its old time of writing. None without one."""
    try:
        return path.stat().st_ctime
    except FileNotFoundError:
        return None


def interrupt(number: int, _frame: object) -> None:
    """Handles a signal."""
    raise Interrupted(signal.Signals(number).name)


def main(path: Path = CONFIG) -> int:
    """Exit code."""
    config = Config.load(path)
    with (config.directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another backup-verify runs, expected none: wait for it", file=sys.stderr)
            return 1
        for sign in SIGNALS:
            signal.signal(sign, interrupt)
        # The server's user reads some of what is written, whoever started this.
        os.umask(0o022)
        result = Verification(config).whole()
        write(config.result, result, 0o644)
    for kind in ("problems", "warnings"):
        for sentence in result[kind]:
            print(f"{kind.removesuffix('s')}: {sentence}", file=sys.stderr)
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
