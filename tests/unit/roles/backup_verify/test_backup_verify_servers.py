# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real backups of a real server, whole and damaged, and a real repository of media."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import backup_verify
import pytest
from backup_verify import Config, Failure, Row, Verification

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
ROWS = 2000
RESTORE = "cp {archive}/%f %p"

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="it becomes the user postgres, as root alone can")


def newest_version() -> int:
    versions = [int(path.parent.parent.name) for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if not versions:
        pytest.fail("no PostgreSQL server in /usr/lib/postgresql: install the Debian package postgresql")
    return max(versions)


@dataclasses.dataclass(frozen=True)
class Backup:
    """A copy of a running server, and the WAL that it wrote until its end."""

    folder: Path
    version: int
    #: Where a table and its indexes, of two kinds, begin in a data directory.
    table: str
    btree: str
    hash: str
    last_commit: float

    @property
    def data(self) -> Path:
        return self.folder / "backup"

    @property
    def archive(self) -> Path:
        return self.folder / "archive"


@pytest.fixture(scope="session")
def backup() -> Iterator[Backup]:
    folder = Path(tempfile.mkdtemp(prefix="bv-", dir=FAST))
    folder.chmod(0o755)
    # initdb and the others make their own folders in it.
    shutil.chown(folder, "postgres", "postgres")
    try:
        yield make_backup(folder)
    finally:
        backup_verify.end_servers(folder / "source")
        shutil.rmtree(folder)


def make_backup(folder: Path) -> Backup:
    source, archive, version = folder / "source", folder / "archive", newest_version()
    archive.mkdir()
    shutil.chown(archive, "postgres", "postgres")

    def pg(program: str, *arguments: str) -> str:
        argv = backup_verify.as_postgres(f"/usr/lib/postgresql/{version}/bin/{program}", *arguments)
        done = backup_verify.call(argv)
        assert done.rc == 0, done
        return done.out.strip()

    def sql(text: str, database: str = "shop") -> str:
        return pg("psql", "-XAtq", "-h", str(source), "-d", database, "-c", text)

    options = (
        f"-k {source} -c listen_addresses= -c fsync=off -c shared_buffers=16MB -c autovacuum=off -c archive_mode=on "
        f"-c archive_command='cp %p {archive}/%f' -c log_destination=stderr"
    )
    pg("initdb", "-D", str(source), "-U", "postgres", "-A", "trust", "--no-sync", "--data-checksums")
    pg("pg_ctl", "-D", str(source), "-l", str(archive / "log"), "-o", options, "-w", "start")
    sql("CREATE DATABASE shop", "postgres")
    sql(f"CREATE TABLE users AS SELECT n AS id, repeat('x', 50) AS name FROM generate_series(1, {ROWS}) AS n")
    sql("ALTER TABLE users ADD PRIMARY KEY (id)")
    sql("CREATE INDEX users_name ON users USING hash (name)")
    sql("CREATE TABLE media (id bigint, path text, sha256 text)")
    # Hostile, and none of it may matter.
    sql('CREATE SCHEMA "a\'b"')
    sql('CREATE TABLE "a\'b"."c""; DROP TABLE users; --\n" ()')
    sql("ALTER DATABASE shop SET statement_timeout = '1ms'")
    sql("ALTER DATABASE shop SET default_transaction_read_only = on")
    pg("pg_basebackup", "-h", str(source), "-D", str(folder / "backup"), "-c", "fast", "-X", "none", "--no-sync")
    sql("BEGIN READ WRITE; SET LOCAL statement_timeout = 0; INSERT INTO media VALUES (7, 'a.jpg', 'ab'); COMMIT")
    paths = sql(
        "SELECT " + ", ".join(f"pg_relation_filepath('{name}')" for name in ("users", "users_pkey", "users_name"))
    )
    pg("pg_ctl", "-D", str(source), "-m", "fast", "-w", "stop")
    shutil.rmtree(source)
    table, btree, hashed = paths.split("|")
    return Backup(folder, version, table, btree, hashed, time.time())


@dataclasses.dataclass(frozen=True)
class Site:
    """Somewhere to verify *backup*, and the command that fetches it."""

    backup: Backup
    config: Config

    def fetches(self, *more: str, restore: str = RESTORE) -> None:
        """Fetch with these lines of shell besides; ``$1`` is where to."""
        command = restore.format(archive=self.backup.archive)
        lines = [
            "#!/bin/sh -e",
            'test "$(stat -c %U:%a "$1")" = postgres:700',
            f'cp -a {self.backup.data}/. "$1"',
            'touch "$1/recovery.signal"',
            f'echo "restore_command = \'{command}\'" >> "$1/postgresql.auto.conf"',
            'echo "archive_mode = off" >> "$1/postgresql.auto.conf"',
            # What a primary may have, and what must not come to life here.
            'echo "shared_preload_libraries = nothing" >> "$1/postgresql.auto.conf"',
            'echo "primary_conninfo = \'host=192.0.2.1\'" >> "$1/postgresql.auto.conf"',
            'echo "max_connections = 5000" >> "$1/postgresql.auto.conf"',
            *more,
            'chown -R postgres: "$1"',
            "echo copied",
            "echo 20260101-013000F",
        ]
        Path(self.config.fetch_command[0]).write_text("\n".join(lines) + "\n")

    def verify(self, **changes: Any) -> dict[str, Any]:
        result = Verification(dataclasses.replace(self.config, **changes)).whole()
        assert left(self.config) == []
        return result


def left(config: Config) -> list[str]:
    """What is still there of a restore."""
    there = [
        path.name for path in config.directory.iterdir() if path.name not in ("tables.json", "result.json", "lock")
    ]
    return there + [str(pid) for pid in backup_verify.servers_in(config.data)]


@pytest.fixture
def site(backup: Backup) -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="bv-", dir=FAST))
    folder.chmod(0o755)
    directory, fetch = folder / "v", folder / "fetch"
    directory.mkdir()
    fetch.touch(mode=0o755)
    config = Config(
        version=backup.version,
        database="shop",
        media_query="SELECT * FROM media",
        newest_query="SELECT now() - interval '2 minutes';",
        fetch_command=[str(fetch)],
        check_command=["true"],
        media_command=[],
        media_directory="",
        media_parts=1,
        media_sample=3,
        directory=directory,
        max_age=3600,
        result_max_age=7200,
        patience=20,
        pause=0,
    )
    made = Site(backup, config)
    made.fetches()
    yield made
    backup_verify.end_servers(config.data)
    shutil.rmtree(folder)


def test_a_good_backup(site: Site) -> None:
    run = Verification(site.config)
    result = run.whole()
    assert result["problems"] == []
    assert result["warnings"] == []
    assert (result["ok"], result["backup"], result["checksums"]) == (True, "20260101-013000F", True)
    # The last row was never in the backup itself, only in the WAL.
    assert run.rows == [Row("7", "a.jpg", "ab")]
    assert 0 <= site.backup.last_commit - result["newest"] < 30
    assert 100 < result["ended"] - result["newest_row"] < 180
    assert result["databases"]["shop"]["tables"] == 3
    assert result["databases"]["shop"]["rows"] == ROWS + 1
    assert result["databases"]["shop"]["bytes"] > 1e6
    assert result["databases"]["postgres"]["rows"] == 0
    assert list(result["seconds"]) == ["fetch", "recover", "look", "amcheck", "media", "checksums", "repository"]
    assert left(site.config) == []
    known = backup_verify.read_known(site.config.tables)
    assert known.rows["shop"]["public.users"] == ROWS
    assert known.size == sum(database["bytes"] for database in result["databases"].values())


def test_what_was_there_last_time_is_missed(site: Site) -> None:
    before = {"bytes": 1, "databases": {"shop": {"public.users": 1, "public.orders": 5}, "crm": {}}}
    site.config.tables.write_text(json.dumps(before))
    time.sleep(max(0.0, site.backup.last_commit + 1.5 - time.time()))
    result = site.verify(max_age=1, media_query="SELECT 1 AS nonsense", check_command=["sh", "-c", "echo bad; exit 9"])
    lost, gone = result["warnings"]
    assert lost.endswith("had rows at the last good verification: public.orders")
    assert gone.startswith("the database crm is gone")
    old, row, query, repository = result["problems"]
    assert row.startswith("the newest row in the restored database is of ")
    assert old.startswith("the newest commit in the restored database is of ")
    assert query.startswith("the restored database shop can't be asked: ")
    assert 'column "id" does not exist' in query
    assert repository == "the check of the backups' repository failed (9): bad"
    # Nothing of a bad one is compared with later.
    assert json.loads(site.config.tables.read_text()) == before


DAMAGE = 'printf broken | dd of="$1/{}" bs=1 seek=12000 conv=notrunc status=none'


def test_a_damaged_table(site: Site) -> None:
    site.fetches(DAMAGE.format(site.backup.table))
    result = site.verify()
    look, amcheck, checksums = result["problems"]
    assert look.startswith("not all tables of the restored database shop can be read: ")
    assert "invalid page in block 1" in look
    assert amcheck.startswith("the check of tables and indexes failed (2): ")
    assert "invalid page in block 1" in amcheck
    assert checksums.startswith("the check of all pages failed (1): ")
    assert (result["ok"], result["checksums"]) == (False, False)
    # The other tables were counted all the same.
    assert result["databases"]["shop"] == {"bytes": result["databases"]["shop"]["bytes"], "tables": 2, "rows": 1}


def test_a_damage_that_only_one_check_finds(site: Site) -> None:
    """An index that lost its pages has no wrong checksum; one of another kind is read by nobody else."""
    site.fetches(f'truncate -s 8192 "$1/{site.backup.btree}"', DAMAGE.format(site.backup.hash))
    amcheck, checksums = site.verify()["problems"]
    assert amcheck.startswith("the check of tables and indexes failed (2): ")
    assert "users_pkey" in amcheck
    assert checksums.startswith("the check of all pages failed (1): ")
    assert site.backup.hash in checksums


def test_an_archive_with_a_hole(site: Site) -> None:
    site.fetches(restore="exit 255")
    result = site.verify()
    (problem,) = result["problems"]
    assert problem.startswith("the restored server ended by itself, expected it to recover. The end of its log: ")
    assert "could not restore file" in problem
    assert result["newest"] is None
    assert list(result["seconds"]) == ["fetch", "recover", "repository"]


def test_an_archive_that_does_not_answer(site: Site) -> None:
    site.fetches(restore="sleep 60")
    (problem,) = site.verify(patience=0.5)["problems"]
    assert problem.startswith("the restored server made no progress for 0.5 s, ")
    assert "startup" in problem


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL], ids=["told to end", "killed"])
def test_nothing_outlives_the_program(site: Site, sign: int) -> None:
    site.fetches(restore="sleep 3")
    path = site.config.directory.parent / "config.json"
    data = {**dataclasses.asdict(site.config), "directory": str(site.config.directory)}
    path.write_text(json.dumps(data))
    script = f"import pathlib, backup_verify; raise SystemExit(backup_verify.main(pathlib.Path({str(path)!r})))"
    environment = {**os.environ, "PYTHONPATH": str(Path(backup_verify.__file__).parent), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True
    ) as program:
        wait_for(lambda: len(backup_verify.servers_in(site.config.data)) > 1)
        program.send_signal(sign)
        _nothing, said = program.communicate(timeout=10)
    # Of a killed one the server ends too, by itself.
    wait_for(lambda: not backup_verify.servers_in(site.config.data))
    if sign == signal.SIGKILL:
        assert "data" in left(site.config)
        Verification(site.config).clear()
    else:
        result = json.loads(site.config.result.read_text())
        assert result["problems"] == ["it was interrupted (SIGTERM). Start backup-verify.service again"]
        assert said == f"problem: {result['problems'][0]}\n"
        assert program.returncode == 1
    assert left(site.config) == []


def wait_for(there: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "it didn't happen in time"
        time.sleep(0.02)


# ---- Media -------------------------------------------------------------------------------------------

MEDIA = {"a.jpg": b"first", "b/c d.jpg": os.urandom(300_000), "empty": b""}


@pytest.fixture(scope="session")
def repository() -> Iterator[Path]:
    """Media and a snapshot of them, as the timer of the host that mounts the store takes it."""
    if shutil.which("restic") is None:
        pytest.fail("no restic: install the Debian package restic")
    folder = Path(tempfile.mkdtemp(prefix="bv-", dir=FAST))
    for name, content in MEDIA.items():
        (folder / "store" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "store" / name).write_bytes(content)
    (folder / "passphrase").write_text("secret\n")
    for words in (["init"], ["backup", "--host=media", "."]):
        subprocess.run([*restic(folder), *words], cwd=folder / "store", check=True, capture_output=True)
    yield folder
    shutil.rmtree(folder)


def restic(folder: Path) -> list[str]:
    known = [f"RESTIC_REPOSITORY={folder}/repository", f"RESTIC_PASSWORD_FILE={folder}/passphrase"]
    return ["env", *known, "restic", "--no-cache"]


@pytest.fixture
def media(repository: Path, tmp_path: Path) -> Config:
    folder = shutil.copytree(repository, tmp_path / "copy")
    return Config(15, "", "", "", [], [], restic(folder), "", 1, 20, folder, 0, 0, 1, pause=0)


def test_good_media(media: Config) -> None:
    run = Verification(media)
    run.rows = [Row(name, name, hashlib.sha256(content).hexdigest()) for name, content in MEDIA.items()]
    run.rows.append(Row("young", "young.jpg", "ab"))
    run.look_at_media()
    assert run.problems == []
    assert run.media == {"files": 3, "rows": 4, "sampled": 3, "missing": 1, "wrong": []}


def test_media_with_a_wrong_byte(media: Config) -> None:
    packs = [path for path in (media.directory / "repository" / "data").rglob("*") if path.is_file()]
    pack = max(packs, key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    run = Verification(media, chance=random.Random(1))
    run.rows = [Row("1", "b/c d.jpg", hashlib.sha256(MEDIA["b/c d.jpg"]).hexdigest())]
    with pytest.raises(
        Failure, match=r"1 of 1 files of the newest snapshot .*/b/c d\.jpg can't be read: restic dump failed"
    ):
        run.look_at_media()
    assert run.problems[0].startswith("restic check failed (1), ")
    assert run.media is not None
    assert run.media["wrong"] == ["/b/c d.jpg"]
