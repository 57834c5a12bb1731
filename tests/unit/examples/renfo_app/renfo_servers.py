# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real PostgreSQL servers for tests: made, cloned, stopped, promoted, frozen."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ports import free_port


def binaries() -> Path:
    """The newest PostgreSQL server on this machine."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if not found and (postgres := shutil.which("postgres")):
        found = [Path(postgres).resolve().parent]
    if not found:
        pytest.fail("no PostgreSQL server binaries found: install the Debian package postgresql")
    return max(found, key=lambda path: [int(n) for n in path.parent.name.split(".") if n.isdigit()])


def unprivileged() -> dict[str, Any]:
    """How to run PostgreSQL, which refuses to run as root."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise AssertionError("neither a user postgres nor a user nobody")


@dataclass
class Server:
    """One PostgreSQL server, listening on 127.0.0.1."""

    name: str
    data: Path
    port: int

    def command(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(binaries() / program), *arguments],
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **unprivileged(),
        )
        assert done.returncode == 0, f"{program}: {done.stdout}"
        return done.stdout

    def init(self) -> None:
        self.command("initdb", "-D", str(self.data), "-U", "app", "-A", "trust", "--no-sync")

    def start(self) -> None:
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.data} -c fsync=off "
            f"-c cluster_name={self.name} -c shared_buffers=16MB -c max_connections=40 "
            "-c hot_standby_feedback=off -c wal_retrieve_retry_interval=100ms"
        )
        log = str(self.data.with_suffix(".log"))
        self.command("pg_ctl", "-D", str(self.data), "-l", log, "-o", options, "-w", "-t", "20", "start")

    def stop(self, mode: str = "immediate") -> None:
        self.command("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    def promote(self) -> None:
        self.command("pg_ctl", "-D", str(self.data), "-w", "promote")

    def clone_from(self, upstream: Server) -> None:
        source = f"host=127.0.0.1 port={upstream.port} user=app application_name={self.name}"
        self.command("pg_basebackup", "-D", str(self.data), "-d", source, "-R", "-c", "fast")

    def processes(self) -> list[int]:
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [postmaster, *map(int, children)]

    def freeze(self) -> Callable[[], None]:
        """Stop every process, as a frozen host does; the returned function thaws them."""
        stopped = self.processes()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)

        def thaw() -> None:
            for pid in reversed(stopped):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

        return thaw

    def sql(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        conn = psycopg2.connect(host="127.0.0.1", port=self.port, user="app", dbname="postgres")
        try:
            conn.autocommit = True
            with conn.cursor() as cursor:
                cursor.execute(statement, arguments or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            conn.close()


def url(*servers: Server, wants: str = "read-write") -> str:
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://app@{hosts}/postgres?target_session_attrs={wants}&connect_timeout=2&sslmode=disable"


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


class Servers:
    """Makes servers, and ends them."""

    _numbers = itertools.count()

    def __init__(self, workplace: Path, template: Path) -> None:
        self._workplace = workplace
        self._template = template
        self._made: list[Server] = []

    def _new(self, name: str) -> Server:
        # A port may come twice: the directory of the server that had it before is still there.
        server = Server(name, self._workplace / f"{name}-{next(self._numbers)}", free_port())
        self._made.append(server)
        return server

    def primary(self, name: str = "pg1") -> Server:
        server = self._new(name)
        subprocess.run(["cp", "-a", str(self._template), str(server.data)], check=True)
        server.start()
        return server

    def standby_of(self, upstream: Server, name: str = "pg2") -> Server:
        server = self._new(name)
        server.clone_from(upstream)
        server.start()
        return server

    def end(self) -> None:
        for server in self._made:
            with suppress(AssertionError, OSError):
                for pid in server.processes():
                    os.kill(pid, signal.SIGCONT)
                server.stop()
