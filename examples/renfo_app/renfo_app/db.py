# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections that stay honest while the primary moves.

A connection may, at any moment, be cut, point to a server that became a standby, or simply never
answer again (a frozen host acknowledges packets and says nothing). So:

* an error that says "not here" or "not now" throws the connection away, and the work is done
  again on a fresh one, which makes libpq look for the right server among all the hosts;
* a watcher cuts the connection of an attempt that takes too long, which no TCP setting does for
  a host that is alive but frozen;
* while no server is found, one thread of a pool looks for it and the others wait for what it finds:
  a hundred threads that all try again would keep the hosts busy just when one of them takes over;
* the lost primary is looked for on all hosts at once: libpq asks them one after the other, and
  waits two seconds for each that is dead or frozen, while another may have taken over;
* a COMMIT is believed only if it returned without a warning: PostgreSQL reports a commit that
  did not reach the synchronous standby as a success with a warning.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

T = TypeVar("T")
Work = Callable[[Any], T]

log = logging.getLogger(__name__)

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_TRANSIENT_CLASSES = {
    "08",  # the connection
    "40",  # rolled back: serialisation, deadlock, a standby's conflict with recovery
}
_TRANSIENT_CODES = {
    "25006",  # read_only_sql_transaction: this server is a standby now
    "53300",  # too_many_connections
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now: starting up, or not yet consistent
}


class Unavailable(Exception):
    """No server did the work in time."""

    def __init__(self, reason: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(reason)
        self.outcome_unknown = outcome_unknown  # a COMMIT was sent, its answer never came


class NotPrimary(Exception):
    """The server answered, but it is no primary: look for the primary again."""


class CommitUnproven(Exception):
    """COMMIT came back with a warning: the synchronous standby may not have the data."""


@dataclass
class _Link:
    """One connection, and until when its present attempt may take (monotonic seconds)."""

    conn: Any
    name: str
    expires: float
    limit: float = 0.0
    cut: bool = False
    committing: bool = False


class Pool:
    """At most `size` connections to whatever server `url` leads to, for threads.

    `attempt_timeout` bounds one try once it is connected (connecting is bounded by
    `connect_timeout` in the URL, per host), `wait_timeout` the wait for a free connection.
    A connection is given up after about `max_age`; one for reads whose server is not, or no longer, a standby
    after `max_age_elsewhere`.
    All times are seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        size: int,
        read_only: bool = False,
        attempt_timeout: float = 3.0,
        wait_timeout: float = 5.0,
        statement_timeout: float = 10.0,
        max_age: float = 300.0,
        max_age_elsewhere: float = 10.0,
        max_waiting_when_failing: int | None = None,
    ) -> None:
        options = [
            parse_dsn(url).get("options", ""),
            f"-c statement_timeout={int(statement_timeout * 1000)}",
            "-c idle_in_transaction_session_timeout=15000",
        ]
        self._dsn = make_dsn(url, options=" ".join(filter(None, options)))
        self._name = name
        self._read_only = read_only
        self._attempt_timeout = attempt_timeout
        self._wait_timeout = wait_timeout
        self._max_age = max_age
        self._max_age_elsewhere = max_age_elsewhere
        self._max_waiting_when_failing = max_waiting_when_failing
        self._slots = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[_Link] = []
        self._busy: list[_Link] = []
        self._abandoned: list[str] = []
        self._waiting = 0
        self._failing = False
        self._lost = False  # the server that was known is gone, or the last look found none
        self._looking = threading.Lock()
        self._search: _Search | None = None
        self._pause = 0.05  # seconds between two looks
        self._watcher: threading.Thread | None = None
        self._closed = threading.Event()

    def run(self, work: Work[T], *, idempotent: bool = False, within: float = 8.0) -> T:
        """Do `work(cursor)` in a transaction, commit it, and return its result.

        After a lost connection or on the wrong server it is done again on a fresh connection,
        if `idempotent` says that doing it twice does no harm; a failure to connect is always
        tried again. No try begins later than `within` seconds after the first.
        Raises `Unavailable`; errors of the work itself pass through.
        """
        end = time.monotonic() + within
        unknown = False
        delay = 0.05
        self._take_slot(end)
        try:
            while True:
                link: _Link | None = None
                try:
                    link = self._checkout(end)
                    result = self._attempt(link, work, end)
                    self._failing = False
                    return result
                except (psycopg2.Error, NotPrimary, CommitUnproven) as error:
                    if isinstance(error, psycopg2.Error) and not is_transient(error):
                        raise
                    self._failing = self._lost = True
                    unknown = unknown or (link is not None and link.committing)
                    if time.monotonic() + delay >= end or (link is not None and not idempotent):
                        reason = redact(str(error), self._dsn).strip() or type(error).__name__
                        raise Unavailable(reason, outcome_unknown=unknown) from error
                    log.info("%s: trying again: %s", self._name, redact(str(error), self._dsn))
                time.sleep(delay)
                delay = min(delay * 2, 0.2)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close the idle connections and stop the watcher."""
        self._closed.set()
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            _close(link)

    def _take_slot(self, end: float) -> None:
        if self._slots.acquire(blocking=False):
            return
        with self._lock:
            most = self._max_waiting_when_failing
            if self._failing and most is not None and self._waiting >= most:
                raise Unavailable("the server doesn't answer and enough requests wait for it")
            self._waiting += 1
        try:
            patience = max(0.0, min(self._wait_timeout, end - time.monotonic()))
            if not self._slots.acquire(timeout=patience):
                raise Unavailable(f"no free connection within {patience:.0f} s")
        finally:
            with self._lock:
                self._waiting -= 1

    def _checkout(self, end: float) -> _Link:
        while True:
            with self._lock:
                link = self._idle.pop() if self._idle else None
            if link is None:
                return self._find(end)
            if not _stale(link):
                return link
            _close(link)

    def _find(self, end: float) -> _Link:
        """Connect; while the server is lost, one thread after the other."""
        if not self._lost:
            return self._connect()
        if not self._looking.acquire(timeout=max(0.0, end - time.monotonic())):
            raise Unavailable("no server was found in time")
        try:
            if self._lost:
                return self._connect(self._search)
        finally:
            self._looking.release()
        return self._connect()

    def _connect(self, search: _Search | None = None) -> _Link:
        try:
            link = self._open(search)
        except psycopg2.Error:
            if self._lost:
                # Whoever looks next looks a moment later, and the longer it lasts the later: to be told by a standby
                # that it is none takes a handshake, which a host that is about to take over has to pay for.
                self._closed.wait(self._pause)
                self._pause = min(2 * self._pause, 0.5)
            self._lost = True
            raise
        self._lost, self._pause = False, 0.05
        return link

    def _open(self, search: _Search | None) -> _Link:
        name = f"{self._name}-{secrets.token_hex(4)}"[-63:]
        if search:
            try:
                conn = search.connect(name)
            except psycopg2.Error:
                if search.nowhere:
                    # libpq reads the service file anew.
                    self._search = None
                raise
        else:
            known = self._search.found if self._search else {}
            conn = psycopg2.connect(make_dsn(self._dsn, application_name=name, **known))
            if self._search is None and not self._read_only:
                self._search = _Search(self._dsn, conn)
        conn.autocommit = self._read_only
        # A limited age, never the same for all: after a failover the connections spread again.
        age = self._max_age * (0.8 + 0.4 * secrets.randbelow(1000) / 1000)
        return _Link(conn, name, expires=time.monotonic() + age)

    def _attempt(self, link: _Link, work: Work[T], end: float) -> T:
        whole = False
        self._watch(link, end)
        try:
            with link.conn.cursor() as cursor:
                self._end_abandoned(cursor)
                result = work(cursor)
                if not self._read_only:
                    del link.conn.notices[:]
                    link.committing = True
                    link.conn.commit()
                    if link.conn.notices:
                        raise CommitUnproven(" ".join(link.conn.notices))
            link.committing = False
            whole = True
            return result
        except psycopg2.Error as error:
            whole = not is_transient(error) and _rolled_back(link)
            raise
        except (NotPrimary, CommitUnproven):
            raise
        except Exception:
            whole = _rolled_back(link)
            raise
        finally:
            self._checkin(link, whole)

    def _checkin(self, link: _Link, whole: bool) -> None:
        with self._lock:
            self._busy.remove(link)
            if link.cut:
                self._abandoned.append(link.name)
            elif whole and not self._closed.is_set():
                if self._read_only and link.conn.info.parameter_status("in_hot_standby") == "off":
                    # Promoted since, or no standby was there: soon look for one again, or reads would go down with
                    # the next primary too.
                    link.expires = min(link.expires, time.monotonic() + self._max_age_elsewhere)
                self._idle.append(link)
                return
        _close(link)

    def _end_abandoned(self, cursor: Any) -> None:
        """End the server processes of the attempts that were cut, where they are still there.

        A COMMIT that waits for a synchronous standby ignores that its client is gone: without
        this, such processes would pile up until no connection is left for readers.
        """
        with self._lock:
            names, self._abandoned = self._abandoned, []
        if names:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = ANY(%s) AND usename = current_user",
                (names,),
            )

    def _watch(self, link: _Link, end: float) -> None:
        now = time.monotonic()
        link.limit = now + max(0.5, min(self._attempt_timeout, end - now))
        link.committing = False
        with self._lock:
            self._busy.append(link)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._cut_late, name=f"{self._name}-watcher", daemon=True)
                self._watcher.start()

    def _cut_late(self) -> None:
        while not self._closed.wait(0.1):
            now = time.monotonic()
            # A link leaves `_busy` under the same lock: one that was given back is never cut.
            with self._lock:
                for link in self._busy:
                    if now > link.limit and not link.cut:
                        link.cut = True
                        _shutdown(link)


class _Search:
    """The primary, looked for on all hosts at once; one thread at a time.

    `conn` is a connection, for it knows what libpq read in a service file. `found` is the host that was found last:
    while another one is dead, it need not be asked first.
    """

    def __init__(self, dsn: str, conn: Any) -> None:
        parameters = conn.info.dsn_parameters
        keys = [key for key in ("host", "hostaddr", "port") if parameters.get(key)]
        columns = [parameters[key].split(",") for key in keys]
        self._dsn = dsn
        # A list of one value is meant for every host.
        self._hosts = [
            {key: column[index if len(column) > 1 else 0] for key, column in zip(keys, columns, strict=True)}
            for index in range(max(map(len, columns), default=0))
        ]
        here = conn.info.host, str(conn.info.port)
        self.found = next((host for host in self._hosts if (host.get("host"), host.get("port")) == here), {})
        self.nowhere = False
        self._asked: set[int] = set()  # who owes an answer
        self._answers: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()

    def connect(self, name: str, patience: float = 0.5) -> Any:
        """The first connection that is taken; psycopg2.Error if none is within `patience` seconds.

        Who stays silent is not asked again until libpq gave up on it. `nowhere` is true once all have answered, and
        none was the primary: it may be a host that was added since.
        """
        # What came since the last look counts: a server that has just taken over may be slow.
        conn, error = self._first(0.0)
        if conn is None:
            for index in set(range(len(self._hosts))) - self._asked:
                self._asked.add(index)
                threading.Thread(target=self._ask, args=(index, name), daemon=True).start()
            conn, error = self._first(patience)
        if conn is None:
            self.nowhere = not self._asked
            raise error
        return conn

    def _first(self, patience: float) -> tuple[Any, psycopg2.Error]:
        end = time.monotonic() + patience
        error: psycopg2.Error = psycopg2.OperationalError("no server has answered yet")
        while self._asked:
            try:
                index, said = self._answers.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            self._asked.discard(index)
            if isinstance(said, psycopg2.Error):
                error = said
            elif _says_goodbye(said):
                said.close()
            else:
                self.found = self._hosts[index]
                return said, error
        return None, error

    def _ask(self, index: int, name: str) -> None:
        try:
            answer: Any = psycopg2.connect(make_dsn(self._dsn, application_name=name, **self._hosts[index]))
        except psycopg2.Error as error:
            answer = error
        self._answers.put((index, answer))


def is_transient(error: psycopg2.Error) -> bool:
    """Whether the same work may succeed on another connection, or a moment later."""
    code = error.pgcode
    if code is None:  # libpq itself: not connected, or connected no more
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return code[:2] in _TRANSIENT_CLASSES or code in _TRANSIENT_CODES


def redact(text: str, dsn: str) -> str:
    """`text` without any password, wherever it came from."""
    for secret in (parse_dsn(dsn).get("password"), os.environ.get("PGPASSWORD")):
        if secret:
            text = text.replace(secret, "***")
    text = re.sub(r"(://[^\s:/@]*:)[^\s@]*@", r"\1***@", text)
    return re.sub(r"(password\s*=\s*)('[^']*'|\S+)", r"\1***", text, flags=re.IGNORECASE)


def _stale(link: _Link) -> bool:
    """Old, or of no use any more."""
    return time.monotonic() > link.expires or _says_goodbye(link.conn)


def _says_goodbye(conn: Any) -> bool:
    """Closed, or with something to say: an idle server speaks only to say goodbye."""
    if conn.closed:
        return True
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _rolled_back(link: _Link) -> bool:
    try:
        link.conn.rollback()
    except psycopg2.Error:
        return False
    return True


def _shutdown(link: _Link) -> None:
    # Not conn.cancel(): it opens a connection to the host that doesn't answer, and holds the
    # interpreter's lock meanwhile.
    with (
        suppress(OSError, psycopg2.Error),
        socket.socket(fileno=os.dup(link.conn.fileno())) as sock,
    ):
        sock.shutdown(socket.SHUT_RDWR)


def _close(link: _Link) -> None:
    with suppress(psycopg2.Error):
        link.conn.close()
