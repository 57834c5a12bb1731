# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections to PostgreSQL on which nothing is waited for without a bound.

libpq's connect_timeout is at least two seconds, and nothing in it bounds a query on a server that is
frozen. So connections are asynchronous, and this side of them keeps the time.
"""

from __future__ import annotations

import select
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import PgError
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import (
    Instance,
    Postmaster,
    local_conninfo,
    one_line,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_text import format_conninfo

try:
    import psycopg2
    from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE
except ImportError:
    MISSING = True
else:
    MISSING = False

# A session of ours is idle while it holds a lock, and a statement of ours may wait for its end long after
# its client died: no timeout set for applications may end either. Messages are read here, so in English.
LOCAL_OPTIONS = (
    "-c statement_timeout=0 -c idle_session_timeout=0 -c client_connection_check_interval=0"
    " -c client_min_messages=warning -c lc_messages=C"
)
# What somebody who isn't a superuser may set of these.
REMOTE_OPTIONS = "-c idle_session_timeout=0 -c client_min_messages=warning"


class SessionError(PgError):
    """A server that didn't do what it was asked, and what it said; ``sqlstate`` where it gave one."""

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class Session:
    """One connection in autocommit mode; at most one statement runs at a time."""

    def __init__(self, conninfo: Mapping[str, str], timeout: float) -> None:
        """Connect within ``timeout`` seconds; SessionError says why not."""
        if MISSING:
            raise SessionError("Python's psycopg2 is not on this host, expected the Debian package python3-psycopg2")
        self.where = f"{conninfo.get('host')}:{conninfo.get('port')}"
        self._cursor: Any = None
        self._connection: Any = None
        try:
            self._connection = psycopg2.connect(format_conninfo(conninfo), async_=1)
            self._wait(timeout)
        except (psycopg2.Error, SessionError) as error:
            self.close()
            raise self._said(error) from error

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, sql: str) -> None:
        """Begin ``sql``; ``ready`` says when it is done, ``rows`` what it gave."""
        try:
            self._cursor = self._connection.cursor()
            self._cursor.execute(sql)
        except psycopg2.Error as error:
            raise self._said(error) from error

    def ready(self) -> bool:
        """Whether the statement is done; never waits."""
        try:
            return bool(self._connection.poll() == POLL_OK)
        except psycopg2.Error as error:
            raise self._said(error) from error

    def rows(self) -> list[tuple[Any, ...]]:
        """What the last statement gave."""
        return list(self._cursor.fetchall()) if self._cursor.description else []

    def ask(self, sql: str, timeout: float) -> list[tuple[Any, ...]]:
        """The rows of ``sql``, which may be several statements: of the last.

        After a timeout the connection is closed, for the answer may still come.
        """
        self.send(sql)
        try:
            self._wait(timeout)
        except psycopg2.Error as error:
            raise self._said(error) from error
        except SessionError:
            self.close()
            raise
        return self.rows()

    def row(self, sql: str, timeout: float) -> tuple[Any, ...]:
        """The only row of ``sql``."""
        (row,) = self.ask(sql, timeout)
        return row

    def value(self, sql: str, timeout: float) -> Any:
        """The only value of ``sql``."""
        (value,) = self.row(sql, timeout)
        return value

    def close(self) -> None:
        """End the connection, whatever runs on it; the server gives up its locks."""
        if self._connection is not None:
            self._connection.close()

    def _wait(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while (state := self._connection.poll()) != POLL_OK:
            left = max(0.0, deadline - time.monotonic())
            fd = self._connection.fileno()
            reads, writes = ([fd] if state == wanted else [] for wanted in (POLL_READ, POLL_WRITE))
            if not any(select.select(reads, writes, [], left)) and time.monotonic() >= deadline:
                raise SessionError(f"{self.where}: no answer within {timeout:g} s")

    def _said(self, error: Exception) -> SessionError:
        if isinstance(error, SessionError):
            return error
        found = one_line(str(error)) or "the connection broke"
        return SessionError(f"{self.where}: {found}", getattr(error, "pgcode", None))


def local_session(instance: Instance, postmaster: Postmaster, timeout: float) -> Session:
    """The superuser's connection to the instance on this host, over its socket."""
    conninfo = {**local_conninfo(instance, postmaster), "options": LOCAL_OPTIONS}
    return Session(conninfo, timeout)


def remote_session(conninfo: Mapping[str, str], application_name: str, timeout: float) -> Session:
    """A connection to the database ``postgres`` of another member, with what replication uses to get there."""
    named = {"dbname": "postgres", "application_name": application_name, "options": REMOTE_OPTIONS}
    return Session({**conninfo, **named}, timeout)
