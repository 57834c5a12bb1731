# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""Real PostgreSQL servers for tests, each in a directory of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import (
    Instance,
    running_postmaster,
)
from ports import free_port

BINARIES = Path("/usr/lib/postgresql")
# In memory where that is possible: a copy of a cluster syncs a thousand files.
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def newest_version() -> int:
    versions = [int(path.parent.parent.name) for path in BINARIES.glob("*/bin/postgres")]
    if not versions:
        pytest.fail(f"no PostgreSQL server in {BINARIES}: install the Debian package postgresql")
    return max(versions)


def run(argv: Sequence[str]) -> tuple[int, str, str]:
    done = subprocess.run(argv, capture_output=True, text=True, cwd="/", check=False)
    return done.returncode, done.stdout, done.stderr


def wait_for_end(data_directory: Path) -> None:
    while running_postmaster(data_directory) is not None:
        time.sleep(0.05)


@dataclass
class Host:
    """One instance in a directory of its own, and the systemctl that would manage it."""

    instance: Instance
    enabled: bool = False
    broken: bool = False
    commands: list[list[str]] = field(default_factory=list)

    def run(self, argv: Sequence[str]) -> tuple[int, str, str]:
        self.commands.append(list(argv))
        if "systemctl" not in argv:
            return run(argv)
        if "is-enabled" in argv:
            return (0 if self.enabled else 1), "", ""
        if "enable" in argv:
            self.enabled = True
            return 0, "", ""
        assert "restart" in argv
        if not self.broken:
            self.start()
        return 0, "", ""  # like Debian's unit, which is content whatever happens

    def pg(self, *argv: str) -> str:
        rc, out, err = run(["runuser", "-u", "postgres", "--", self.instance.binary(argv[0]), *argv[1:]])
        assert rc == 0, (argv, out, err)
        return out

    def initdb(self) -> None:
        data = str(self.instance.data_directory)
        self.pg("initdb", "-D", data, "-A", "trust", "--no-sync", "--data-checksums")

    def start(self) -> None:
        config = self.instance.config_directory / "postgresql.conf"
        data = str(self.instance.data_directory)
        log = self.instance.log_file
        # Into a file: the server would keep a pipe open.
        try:
            self.pg("pg_ctl", "-D", data, "-l", str(log), "-s", "-w", "-o", f"-c config_file={config}", "start")
        except AssertionError as error:
            raise AssertionError(log.read_text() if log.exists() else "the server wrote no log") from error

    def stop(self, mode: str = "fast") -> None:
        self.pg("pg_ctl", "-D", str(self.instance.data_directory), "-s", "-w", "-m", mode, "stop")

    def sql(self, sql: str) -> str:
        where = f"host={self.instance.socket_directory} port={self.instance.port} user=postgres"
        return self.pg("psql", "-XAtqw", "-d", f"{where} dbname=postgres", "-c", sql).strip()

    @property
    def pid(self) -> int:
        postmaster = running_postmaster(self.instance.data_directory)
        assert postmaster is not None
        return postmaster.pid

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        wait_for_end(self.instance.data_directory)
        time.sleep(0.3)  # for its children to notice


def make_host(name: str, base: Path) -> Host:
    version = newest_version()
    home = base / name
    instance = Instance(
        version,
        name,
        home / "data",
        home / "conf",
        free_port(),
        timeout=3,
        state_directory=home,
        socket_directory=home,
        log_directory=home,
    )
    (instance.config_directory / "conf.d").mkdir(parents=True)
    (instance.config_directory / "pg_hba.conf").write_text(
        "local all postgres trust\nhost replication replication 127.0.0.1/32 trust\n"
    )
    (instance.config_directory / "postgresql.conf").write_text(
        f"port = {instance.port}\n"
        f"data_directory = '{instance.data_directory}'\n"
        f"hba_file = '{instance.config_directory}/pg_hba.conf'\n"
        f"unix_socket_directories = '{home}'\n"
        "listen_addresses = '127.0.0.1'\n"
        "shared_buffers = '16MB'\n"
        "fsync = off\n"
        "dynamic_shared_memory_type = mmap\n"
        f"cluster_name = '{name}'\n"
        "include_dir = 'conf.d'\n"
    )
    for path in [home, *home.rglob("*")]:
        shutil.chown(path, "postgres", "postgres")
    return Host(instance)


@pytest.fixture
def base() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="pg-io-", dir=FAST))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        for pid_file in directory.glob("*/data*/postmaster.pid"):
            postmaster = running_postmaster(pid_file.parent)
            if postmaster is not None:
                os.kill(postmaster.pid, signal.SIGCONT)
                os.kill(postmaster.pid, signal.SIGQUIT)
                wait_for_end(pid_file.parent)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def database() -> Iterator[Path]:
    """A stopped cluster to copy from, for making one takes seconds."""
    directory = Path(tempfile.mkdtemp(prefix="pg-io-", dir=FAST))
    directory.chmod(0o755)
    host = make_host("made", directory)
    host.initdb()
    host.start()
    host.sql("CREATE ROLE replication LOGIN REPLICATION")
    host.sql("CREATE TABLE kept (word text)")
    host.sql("INSERT INTO kept VALUES ('before')")
    host.stop()
    yield host.instance.data_directory
    shutil.rmtree(directory)


@pytest.fixture
def new_host(base: Path) -> Callable[[str], Host]:
    return lambda name: make_host(name, base)


@pytest.fixture
def pg1(base: Path, database: Path) -> Host:
    """A running primary with one table in it."""
    host = make_host("pg1", base)
    subprocess.run(["cp", "-a", database, host.instance.data_directory], check=True)
    host.start()
    return host


@pytest.fixture
def pg2(base: Path) -> Host:
    """A configured host without a database."""
    return make_host("pg2", base)
