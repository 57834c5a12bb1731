# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Promote this host's standby, and prove by a committed write that it is a primary."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Lsn,
    PgError,
    Upstream,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import (
    Instance,
    Postmaster,
    is_empty,
    read_text,
    running_postmaster,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_steps import (
    Peer,
    PeerAnswer,
    Standing,
    refuse_behind,
    refuse_beside,
    refuse_promotion,
    to_archive_again,
    uncertainties,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_session import (
    Session,
    SessionError,
    local_session,
    remote_session,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_io import sync
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_steps import (
    Replication,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_switchover_steps import (
    ARMED,
    LOCK_SPACE,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_text import (
    parse_history,
    timeline_of_position,
)

POLL = 0.005  # seconds between two looks at a promotion
ANSWER = 2.0  # seconds that a peer which is there has for its answer
LOCAL = 5.0  # seconds that the server on this host has for one
CLAIM = 10.0  # seconds that a switchover which runs on after its controller died has to end

# A primary's insertion timeline is the one that names its WAL files; its control file follows later.
WRITTEN_TIMELINE = "('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int"

STANDING_SQL = f"""
SELECT pg_is_in_recovery(),
  CASE WHEN pg_is_in_recovery()
    THEN greatest((SELECT received_tli FROM pg_stat_wal_receiver),
      (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
      (SELECT timeline_id FROM pg_control_checkpoint()))
    ELSE {WRITTEN_TIMELINE} END,
  (SELECT system_identifier::text FROM pg_control_system()),
  (CASE WHEN pg_is_in_recovery()
    THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_lsn() END)::text,
  (SELECT setting::int FROM pg_settings WHERE name = 'wal_segment_size'),
  CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() <> 'not paused' ELSE false END,
  (SELECT sender_host FROM pg_stat_wal_receiver WHERE status = 'streaming'),
  (SELECT sender_port FROM pg_stat_wal_receiver WHERE status = 'streaming')
"""

PEER_SQL = f"""
SELECT pg_is_in_recovery(),
  CASE WHEN pg_is_in_recovery()
    THEN (SELECT received_tli FROM pg_stat_wal_receiver) ELSE {WRITTEN_TIMELINE} END,
  (CASE WHEN pg_is_in_recovery()
    THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_lsn() END)::text,
  (SELECT system_identifier::text FROM pg_control_system())
"""

# A transaction that leaves nothing behind but its commit: no table, no row.
# https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-REPLICATION
WRITE_SQL = """
BEGIN;
SET LOCAL synchronous_commit = {durability};
SELECT pg_logical_emit_message(true, 'renfo', 'promoted');
COMMIT
"""
READ_ONLY = "25006"


@dataclass(frozen=True)
class Access:
    """How other members are reached; the password is in ``passfile``."""

    user: str = "replication"
    sslmode: str = "verify-full"
    ssl_root_certificate: str | None = None
    passfile: str | None = None

    def replication(self, peer: Peer, application_name: str, slot: str | None = None) -> Replication:
        """The connection to ``peer`` that a standby would have."""
        upstream = Upstream(peer.name, peer.address, peer.port, slot)
        return Replication(
            upstream, self.user, application_name, self.sslmode, self.ssl_root_certificate, self.passfile
        )

    def session(self, peer: Peer, timeout: float) -> Session:
        """A connection to ask ``peer`` by SQL."""
        return remote_session(self.replication(peer, "").conninfo, "renfo.redundancy", timeout)


def ask_peer(peer: Peer, access: Access, connect: float, answer: float = ANSWER) -> PeerAnswer:
    """What ``peer`` says of itself; nothing there is known after ``connect`` seconds."""
    try:
        # Before libpq: a host that is off must not cost as much as one that is slow.
        socket.create_connection((peer.address or peer.name, peer.port), connect).close()
    except OSError as error:
        return PeerAnswer(error=str(error))
    try:
        with access.session(peer, answer) as session:
            in_recovery, timeline, lsn, identifier = session.row(PEER_SQL, answer)
    except SessionError as error:
        return PeerAnswer(reachable=True, error=str(error))
    return PeerAnswer(in_recovery, timeline, Lsn.parse(lsn) if lsn else None, identifier, reachable=True)


class Peers:
    """The peers, all asked at once in the background."""

    def __init__(self, peers: Sequence[Peer], access: Access, connect: float, answer: float) -> None:
        self._answers: dict[str, PeerAnswer] = {}
        self._names = [peer.name for peer in peers]
        self._deadline = time.monotonic() + connect + 2 * answer

        def ask(peer: Peer) -> None:
            self._answers[peer.name] = ask_peer(peer, access, connect, answer)

        # Daemons: a name service that hangs must not keep this process from ending.
        self._threads = [threading.Thread(target=ask, args=(peer,), daemon=True) for peer in peers]
        for thread in self._threads:
            thread.start()

    def answers(self) -> dict[str, PeerAnswer]:
        """What they said, waiting for it if need be."""
        for thread in self._threads:
            thread.join(max(0.0, self._deadline - time.monotonic()))
        given = dict(self._answers)
        return {name: given.get(name, PeerAnswer(error="no answer in time")) for name in self._names}


def postmaster_of(instance: Instance) -> Postmaster:
    """The running server on this host; PgError if there is none."""
    postmaster = running_postmaster(instance.data_directory)
    if postmaster is None:
        state = "absent" if is_empty(instance.data_directory) else "stopped"
        raise PgError(
            f"the instance in {instance.data_directory} is {state}, expected a running one. Nothing was changed. Run "
            "status.yml to see what each member holds",
            state=state,
        )
    return postmaster


def look(session: Session, instance: Instance) -> Standing:
    """What the server on this host says of itself."""
    in_recovery, timeline, identifier, lsn, segment, paused, host, port = session.row(STANDING_SQL, LOCAL)
    position = Lsn.parse(lsn)
    if in_recovery:
        # A standby names its files after the timeline it receives; its control file learns of it later.
        names = os.listdir(instance.data_directory / "pg_wal")
        timeline = max(timeline, timeline_of_position(names, position, segment))
    return Standing(in_recovery, timeline, identifier, position, segment, paused, (host, port) if host else None)


def fence_of(instance: Instance) -> str | None:
    """The text of the fence marker; None if there is none."""
    return read_text(instance.fence_file) if instance.fence_file.exists() else None


@dataclass(frozen=True)
class Promoted:
    """``milliseconds``: from the request to the first commit. ``lsn``: where it writes after that."""

    changed: bool
    timeline_before: int
    timeline_after: int
    lsn: Lsn
    milliseconds: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a module's result."""
        return {**vars(self), "lsn": str(self.lsn)}


@dataclass(frozen=True)
class Promotion:
    """The promotion of one standby. ``timeline``: the one that is to begin; ``timeout`` in seconds."""

    instance: Instance
    timeline: int | None = None
    peers: tuple[Peer, ...] = ()
    access: Access = Access()
    peer_timeout: float = 0.2
    answer_timeout: float = ANSWER
    timeout: float = 60
    verify: bool = True

    def run(self, only_check: bool = False) -> tuple[Promoted, dict[str, PeerAnswer], Sequence[str]]:
        """Promote, or with ``only_check`` just refuse; what came of it, the peers' answers, warnings."""
        peers = Peers(self.peers, self.access, self.peer_timeout, self.answer_timeout)
        with local_session(self.instance, postmaster_of(self.instance), LOCAL) as session:
            standing = look(session, self.instance)
            refuse_promotion(standing, self.timeline, fence_of(self.instance))
            answers = peers.answers()
            refuse_beside(standing, answers)
            if standing.in_recovery:
                refuse_behind(standing, answers)
            warnings = list(uncertainties(answers))
            done = Promoted(standing.in_recovery, standing.timeline, standing.timeline, standing.lsn)
            if only_check:
                return replace(done, timeline_after=self.timeline or done.timeline_after), answers, warnings
            if standing.in_recovery:
                claim(session)
                standing = look(session, self.instance)
                refuse_promotion(standing, self.timeline, fence_of(self.instance))
            deadline = time.monotonic() + self.timeout
            began = time.monotonic()
            if standing.in_recovery:
                archive_again(session, self.instance, standing)
                if not session.value("SELECT pg_promote(wait => false)", LOCAL):
                    raise PgError("pg_promote() couldn't signal the server, expected a promotion: see the server's log")
                wait_for_end_of_recovery(session, deadline)
            if self.verify:
                write(session, deadline)
            took = round((time.monotonic() - began) * 1000) if standing.in_recovery else None
            after, lsn = now_at(session)
            if standing.in_recovery and self.timeline not in (None, after):
                warnings.append(f"the promotion led to timeline {after}, expected {self.timeline}")
            return Promoted(done.changed, done.timeline_before, after, lsn, took), answers, warnings


def claim(session: Session) -> None:
    """Take the lock of a switchover, so that none hands back to the old primary while this one is promoted.

    PgError if somebody else keeps it. It is given back with the session.
    """
    deadline = time.monotonic() + CLAIM
    while not session.value(f"SELECT pg_try_advisory_lock({LOCK_SPACE}, {ARMED})", LOCAL):
        if time.monotonic() > deadline:
            raise PgError(
                "a switchover to this host is under way, expected none. Nothing was changed. It ends by itself within "
                "two minutes: run again then"
            )
        time.sleep(10 * POLL)


def archive_again(session: Session, instance: Instance, standing: Standing) -> None:
    """Have this standby archive, once it is the primary, what it received: the lost primary may not have.

    Before the promotion, for what counts as archived may be removed right after it. What is archived already costs a
    comparison. https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-ARCHIVING-WAL
    """
    if session.value("SHOW archive_mode", LOCAL) == "off":
        return
    wal = instance.data_directory / "pg_wal"
    history = read_text(wal / f"{standing.timeline:08X}.history") if standing.timeline > 1 else ""
    names = os.listdir(wal / "archive_status")
    for name in to_archive_again(names, standing.timeline, parse_history(history), standing.segment_size):
        # The server removes files that it needs no more, until this moment.
        with suppress(FileNotFoundError):
            (wal / "archive_status" / name).rename(wal / "archive_status" / name.replace(".done", ".ready"))
    sync(wal / "archive_status")


def wait_for_end_of_recovery(session: Session, deadline: float) -> None:
    """Return when the server is a primary; PgError at ``deadline``, a time of the monotonic clock."""
    while session.value("SELECT pg_is_in_recovery()", LOCAL):
        if time.monotonic() > deadline:
            raise PgError(
                "the promotion was requested, but the server is still in recovery, expected a primary by now: it may "
                "become one any moment. See its log, and run again"
            )
        time.sleep(POLL)


def write(session: Session, deadline: float) -> None:
    """Commit a transaction on this server alone; PgError at ``deadline``."""
    while True:
        try:
            session.ask(WRITE_SQL.format(durability="local"), max(LOCAL, deadline - time.monotonic()))
            return
        except SessionError as error:
            if error.sqlstate != READ_ONLY or time.monotonic() > deadline:
                raise PgError(f"the server accepts no write, expected a primary: {error}") from error
            session.ask("ROLLBACK", LOCAL)
            time.sleep(POLL)


def now_at(session: Session) -> tuple[int, Lsn]:
    """The timeline and the position that a primary writes at."""
    timeline, lsn = session.row(f"SELECT {WRITTEN_TIMELINE}, pg_current_wal_lsn()::text", LOCAL)
    return timeline, Lsn.parse(lsn)


def synchronous_write(instance: Instance, timeout: float) -> dict[str, Any]:
    """Commit a transaction that waits for a standby, ``timeout`` seconds at most; whether one acknowledged it.

    No timeout of the server's ends that wait (its statement_timeout does not cover the commit itself), a cancellation
    does. The transaction is then committed on this host alone; it holds nothing.
    """
    began = time.monotonic()
    postmaster = postmaster_of(instance)
    try:
        with local_session(instance, postmaster, LOCAL) as session:
            pid = session.value("SELECT pg_backend_pid()", LOCAL)
            session.send(WRITE_SQL.format(durability="on"))
            while not (ok := session.ready()) and time.monotonic() - began < timeout:
                time.sleep(POLL)
            if not ok:
                with local_session(instance, postmaster, LOCAL) as other:
                    other.ask(f"SELECT pg_cancel_backend({pid})", LOCAL)
    except SessionError:
        ok = False
    return {"ok": ok, "milliseconds": round((time.monotonic() - began) * 1000)}


def as_plain(answers: Mapping[str, PeerAnswer]) -> dict[str, Any]:
    """Plain data, by the name of the peer."""
    return {name: answer.to_dict() for name, answer in answers.items()}
