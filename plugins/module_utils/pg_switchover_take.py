# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The candidate's part of a switchover; the protocol is in pg_switchover_steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Lsn,
    PgError,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_fork import segment_name
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import (
    Instance,
    Runner,
    readable_wal,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_io import (
    LOCAL,
    POLL,
    archive_again,
    fence_of,
    look,
    now_at,
    postmaster_of,
    write,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_steps import (
    Peer,
    Standing,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_session import (
    Session,
    SessionError,
    local_session,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_switchover_steps import (
    ANNOUNCED,
    ARMED,
    LOCK_SPACE,
    Move,
    Record,
    Seen,
    Watch,
    holders_sql,
    is_candidate,
    is_shutdown,
    last_record,
    next_move,
    waldump_starts,
)

IDLE = 0.02  # seconds between two looks before anything was announced
WALDUMP = "5"  # seconds that pg_waldump may take for a page or two
RETRY = 0.2  # seconds after which an answer that didn't come is asked for again
# The statement that promotes ends when the promotion did, not when somebody loses patience.
FOR_EVER = 24 * 3600

SEEN_SQL = f"""
SELECT pg_is_in_recovery(),
  EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'),
  EXISTS (SELECT {holders_sql(ANNOUNCED)} AND pid <> ALL ('{{stale}}'::int[])),
  coalesce(pg_last_wal_receive_lsn(), '0/0')::text,
  coalesce(pg_last_wal_replay_lsn(), '0/0')::text
"""


@dataclass(frozen=True)
class TookOver:
    """``waited_milliseconds``: from being ready to the proof; ``milliseconds``: from there to the first commit."""

    changed: bool
    outcome: str
    timeline_before: int | None
    timeline_after: int | None = None
    lsn: Lsn | None = None
    milliseconds: int | None = None
    waited_milliseconds: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a module's result."""
        return {**vars(self), "lsn": str(self.lsn) if self.lsn is not None else None}


@dataclass(frozen=True)
class Armed:
    """A candidate that is ready.

    ``last_moment``: to begin a promotion, by the server's clock; this process may be frozen after any look of its own.
    ``stale``: process ids of sessions that announced something before, as an array of PostgreSQL.
    """

    standing: Standing
    last_moment: str
    stale: str


@dataclass(frozen=True)
class TakeOver:
    """The candidate. ``timeline``: of ``peer``, the old primary. ``timeout``: seconds until it gives up."""

    instance: Instance
    run: Runner
    peer: Peer
    timeline: int | None = None
    timeout: float = 30

    def check(self) -> TookOver:
        """Refuse what can't be done; what would come of it."""
        with self._session() as session:
            standing = look(session, self.instance)
            if self._is_candidate(standing):
                return TookOver(True, "took_over", standing.timeline)
            return TookOver(False, "already", self.timeline, standing.timeline, standing.lsn)

    def take_over(self) -> TookOver:
        """Wait for the old primary's shutdown, and promote. PgError: not promoted, or not known to be."""
        # Two sessions: the one that is armed runs the promotion, the other watches.
        with self._session() as armed, self._session() as eye:
            ready = self._arm(armed, eye)
            if ready is None:
                write(eye, time.monotonic() + LOCAL)
                return TookOver(False, "already", self.timeline, *now_at(eye))
            began = time.monotonic()
            try:
                proven = self._wait_for_shutdown(eye, ready, began + self.timeout)
            except SessionError as error:
                raise PgError(f"not promoted: the server on this host was lost while it waited: {error}") from error
            if proven:
                return self._promote(armed, eye, ready, began)
            raise PgError(
                "this standby was promoted by somebody else while it waited for the old primary's shutdown, expected "
                "to do that itself. Run status.yml to see how many primaries there are"
            )

    def _session(self) -> Session:
        return local_session(self.instance, postmaster_of(self.instance), LOCAL)

    def _is_candidate(self, standing: Standing) -> bool:
        return is_candidate(standing, self.peer, self.timeline, fence_of(self.instance))

    def _arm(self, armed: Session, eye: Session) -> Armed | None:
        """Take the lock, waiting for one who was interrupted but still has it; None if there is nothing to wait for."""
        deadline = time.monotonic() + self.timeout
        while True:
            # Before it is armed: nobody has a reason to announce anything yet.
            stale = eye.value(f"SELECT coalesce(array_agg(pid), '{{}}')::text {holders_sql(ANNOUNCED)}", LOCAL)
            last_moment, taken = armed.row(
                f"SELECT (clock_timestamp() + interval '{self.timeout} s')::text,"
                f" pg_try_advisory_lock({LOCK_SPACE}, {ARMED})",
                LOCAL,
            )
            # While another is armed it may be about to promote: no time to find fault with how things stand.
            if taken or not eye.value("SELECT pg_is_in_recovery()", LOCAL):
                standing = look(eye, self.instance)
                return Armed(standing, last_moment, stale) if self._is_candidate(standing) else None
            if time.monotonic() > deadline:
                raise PgError(
                    f"not promoted: an earlier switchover still works on this standby after {self.timeout:g} s, "
                    "expected that it ends. Run again when it has ended"
                )
            time.sleep(IDLE)

    def _wait_for_shutdown(self, eye: Session, ready: Armed, deadline: float) -> bool:
        """True once the old primary's shutdown is proven; False if this is a primary meanwhile."""
        watch, record, proof_at = Watch(), None, 0.0
        timeline, segment_size = ready.standing.timeline, ready.standing.segment_size
        look_sql = SEEN_SQL.format(stale=ready.stale)
        while True:
            in_recovery, streaming, announced, received, replayed = eye.row(look_sql, LOCAL)
            seen = Seen(in_recovery, streaming, announced, Lsn.parse(received), Lsn.parse(replayed))
            watch, move = next_move(watch, seen)
            if move is Move.PROMOTED:
                return False
            if time.monotonic() > deadline:
                raise self._gave_up(seen, watch, record)
            if move is Move.PROVE and time.monotonic() > proof_at:
                record = self._last_record(seen.replayed, timeline, segment_size)
                if is_shutdown(record, seen.replayed, timeline):
                    return True
                if record is None:
                    proof_at = time.monotonic() + RETRY
                else:
                    watch = Watch(watch.announced, refuted=seen.replayed)
            time.sleep(POLL if watch.announced else IDLE)

    def _last_record(self, end: Lsn, timeline: int, segment_size: int) -> Record | None:
        """The last record of ``timeline`` on this host; None if pg_waldump shows none."""
        starts = waldump_starts(end, segment_size)
        # Only those that are read: there may be hundreds, and writes wait for this.
        numbers = range(min(starts) // segment_size, end // segment_size + 1)
        names = {segment_name(timeline, number, segment_size) for number in numbers}
        with readable_wal(self.instance, names) as wal:
            for start in starts:
                # It ends with an error, as it reads on until something is no record.
                _rc, out, _err = self.run(
                    [
                        *("timeout", "--signal=KILL", WALDUMP, "env", "LC_ALL=C", self.instance.binary("pg_waldump")),
                        f"--path={wal}",
                        f"--start={start}",
                        f"--timeline={timeline}",
                    ]
                )
                record = last_record(out)
                if record is not None:
                    return record
        return None

    def _promote(self, armed: Session, eye: Session, ready: Armed, began: float) -> TookOver:
        proven = time.monotonic()
        archive_again(eye, self.instance, ready.standing)
        armed.send(
            f"SELECT CASE WHEN clock_timestamp() < '{ready.last_moment}'::timestamptz"
            f" THEN pg_promote(true, {FOR_EVER}) END"
        )
        deadline = proven + self.timeout
        while eye.value("SELECT pg_is_in_recovery()", LOCAL):
            # In this order: it may have ended because the promotion has.
            if armed.ready() and eye.value("SELECT pg_is_in_recovery()", LOCAL):
                raise PgError(
                    f"not promoted: {self.peer.name}'s shutdown was proven too late, or the server refused, expected "
                    f"within {self.timeout:g} s. Run again"
                )
            if time.monotonic() > deadline:
                raise PgError(
                    "the promotion was requested, but the server is still in recovery, expected a primary by now: it "
                    "may become one any moment. See its log, and run status.yml"
                )
            time.sleep(POLL)
        write(eye, deadline)
        took, waited = (round(seconds * 1000) for seconds in (time.monotonic() - proven, proven - began))
        return TookOver(True, "took_over", ready.standing.timeline, *now_at(eye), took, waited)

    def _gave_up(self, seen: Seen, watch: Watch, record: Record | None) -> PgError:
        found = "it still streams" if seen.streaming else "the stream ended"
        if not watch.announced:
            found += ", and it never said that it would stop"
        elif record is not None and not seen.streaming:
            found += f", and the last record is no shutdown: {record.description[:60]} at {record.lsn}"
        elif seen.replayed < seen.received:
            found += f", and replay is at {seen.replayed} of {seen.received}"
        return PgError(
            f"not promoted: {self.peer.name} wasn't seen to shut down within {self.timeout:g} s ({found}), expected "
            "its shutdown checkpoint. This instance is a standby as before. Run status.yml, then switch over again",
            lsn=str(seen.replayed),
        )
