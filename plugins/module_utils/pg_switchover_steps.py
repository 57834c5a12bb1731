# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A planned handover between two hosts that talk to each other alone: the protocol, decided without I/O.

The old primary P runs ``hand_over``, the candidate C runs ``take_over``, both at once. They meet in two
advisory locks in the database postgres of C, where a standby grants them too:

- ARMED, exclusive: held by take_over from when it watches until C is promoted, or it gave up;
- ANNOUNCED, shared: held by hand_over while C may take over.

hand_over                                            take_over
    refuses, or                                          refuses, or
    CHECKPOINT, so that the stop is short                takes ARMED, watches
    waits until ARMED is held and C is close behind
    writes the settings of a standby of C
    writes standby.signal
    commits a record R, waits until C has it on disk
    takes ANNOUNCED
    SIGINT: a fast shutdown ends with the record S,      notices that streaming has ended, that it was
    CHECKPOINT_SHUTDOWN, and sends it to C               announced, and that S is the last record it holds
    starts P as a standby of C                           promotes, commits a write, gives ARMED back
    asks C until it is a primary

Why there are never two primaries:

1. C is promoted only if its last record is a CHECKPOINT_SHUTDOWN and it was announced. A lost connection alone
   leaves another record last. A primary that recovers from a crash writes the same kind of record when it starts,
   but that one can't be meant. R came after standby.signal and C held R before the announcement, so the record was
   written after standby.signal; whoever starts with that file is no primary. It is the end of a real shutdown, and
   P writes nothing after it.
2. From standby.signal on no start makes P a primary, by whomever, even if hand_over dies at any point. Only
   hand_over removes the file again ("hands back"), and only after it took ARMED itself and C then said that it is
   in recovery with no promotion requested.
3. An announcement counts only if its session began to hold it after the candidate was armed, and ARMED means the
   candidate only if another role than the asker's holds it: a session of an earlier run may linger behind a broken
   network.
4. The promotion is requested by the very session that holds ARMED, in one statement which ends when C is a primary.
   The server keeps both running when their client dies. So if hand_over got ARMED, there is no promotion under way,
   and none can begin: who was armed lost the session to request it with, and who arms anew waits for a new
   announcement, which hand_over gives up before ARMED.
5. A file ``promote`` in C's data directory is a promotion that was requested and not begun, as after a crash of C at
   that moment; hand_over then waits.

If C can't be asked at all, hand_over can't take ARMED. It waits as long as take_over could be armed (take_over's
server itself refuses to begin a promotion later), and then has the guard decide: it removes standby.signal and starts
P without a permission. The guard asks every peer and lets a primary start only if a standby vouches for it. Without a
guard P stays a standby, for nobody could tell whether C was promoted behind a broken network.

Both parts end by themselves in bounded time, whatever becomes of the controller.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    SHUTDOWN_CHECKPOINT_BYTES,
    Lsn,
    PgError,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_steps import (
    Peer,
    PeerAnswer,
    Standing,
)

# The advisory locks: a number that stands for this collection ("renf"), and one for each lock.
LOCK_SPACE = 0x72656E66
ARMED = 1
ANNOUNCED = 2

# The old primary waits so many times as long as the candidate may be armed.
PATIENCE = 3

# Pages of the write-ahead log, as every Debian package has them.
PAGE = 8192


def holders_sql(lock: int) -> str:
    """The part of an SQL query that begins with FROM: who holds ``lock`` in this database."""
    return (
        "FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted AND objsubid = 2"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        f" AND classid = {LOCK_SPACE} AND objid = {lock}"
    )


# What the candidate sees, and does.


@dataclass(frozen=True)
class Seen:
    """One look of the candidate at itself."""

    in_recovery: bool
    streaming: bool
    announced: bool
    received: Lsn
    replayed: Lsn


@dataclass(frozen=True)
class Watch:
    """What the candidate remembers between two looks. ``refuted``: a position that proved to be no shutdown."""

    announced: bool = False
    refuted: Lsn | None = None


class Move(StrEnum):
    """What the candidate does after a look."""

    WAIT = "wait"
    PROVE = "prove"
    PROMOTED = "promoted"


def next_move(watch: Watch, seen: Seen) -> tuple[Watch, Move]:
    """What to remember, and what to do.

    An announcement counts if it holds, or held when the upstream was last connected: the upstream's side of it may
    break in the same moment as its stream. One that was taken back while streaming went on is forgotten.
    """
    announced = seen.announced if seen.streaming else (watch.announced or seen.announced)
    watch = replace(watch, announced=announced)
    if not seen.in_recovery:
        return watch, Move.PROMOTED
    ended = not seen.streaming and seen.replayed >= seen.received
    return watch, Move.PROVE if ended and announced and seen.replayed != watch.refuted else Move.WAIT


@dataclass(frozen=True)
class Record:
    """One record of the write-ahead log, as pg_waldump shows it."""

    lsn: Lsn
    description: str


def waldump_starts(end: Lsn, segment_size: int) -> Sequence[Lsn]:
    """Where to begin reading, to find the record that ends at ``end``: the best first.

    The page in which it may begin; pg_waldump finds the first record after that. If that page is in the segment
    before, it may be empty (a switch of segments comes before a shutdown where WAL is archived), so then first from
    the segment's own begin.
    """
    page = (end - SHUTDOWN_CHECKPOINT_BYTES) // PAGE * PAGE
    segment = (end - 1) // segment_size * segment_size
    return [Lsn(page)] if page >= segment else [Lsn(segment), Lsn(page)]


def last_record(waldump: str) -> Record | None:
    """The last record in the output of pg_waldump; None if there is none."""
    lines = re.findall(r"^rmgr: (\S+).*, lsn: ([0-9A-F]+/[0-9A-F]+), prev [^,]+, desc: (.*)$", waldump, re.MULTILINE)
    if not lines:
        return None
    manager, lsn, description = lines[-1]
    return Record(Lsn.parse(lsn), f"{manager} {description}")


def is_shutdown(record: Record | None, replayed: Lsn, timeline: int) -> bool:
    """Whether ``record`` is the end of a shutdown of a primary of ``timeline``, and all that was replayed.

    The record is shorter than a page, so it begins just before the position behind it.
    """
    if record is None or not 0 < replayed - record.lsn <= SHUTDOWN_CHECKPOINT_BYTES:
        return False
    return re.match(rf"XLOG CHECKPOINT_SHUTDOWN redo \S+; tli {timeline};", record.description) is not None


def is_candidate(standing: Standing, peer: Peer, timeline: int | None, fence: str | None) -> bool:
    """Whether this standby is to wait for the shutdown of ``peer``, its primary on ``timeline``.

    False if it was promoted since, as by an earlier run. PgError if it can't be the candidate.
    """
    if fence is not None:
        raise PgError(
            f"this instance is fenced ({fence or 'no reason given'}), expected no fence marker. Nothing was changed. "
            "Run status.yml to see which is the primary",
            reason=fence,
        )
    if not standing.in_recovery:
        if timeline is not None and standing.timeline > timeline:
            return False
        raise PgError(
            f"this instance is a primary on timeline {standing.timeline}, expected a standby of {peer.name}. Nothing "
            "was changed. Run status.yml to see which is the primary",
            state="primary",
        )
    if timeline not in (None, standing.timeline):
        raise PgError(
            f"this standby is on timeline {standing.timeline}, expected timeline {timeline} as on {peer.name}. Nothing "
            "was changed. Run status.yml, then decide again",
            found=standing.timeline,
            expected=timeline,
        )
    if standing.replay_paused:
        raise PgError(
            "replay is paused on this standby, expected that it replays. Nothing was changed. Run SELECT "
            "pg_wal_replay_resume() on it, then switch over again"
        )
    if standing.streams_from not in ((peer.address, peer.port), (peer.name, peer.port)):
        source = ":".join(map(str, standing.streams_from)) if standing.streams_from else "nobody"
        raise PgError(
            f"this standby streams from {source}, expected {peer.name} ({peer.address}:{peer.port}): only from the "
            "primary itself can it learn that the primary was stopped. Nothing was changed. Run site.yml to make it "
            "follow the primary",
            found=source,
        )
    return True


# What the old primary sees, and does.


@dataclass(frozen=True)
class Follower:
    """The candidate as the primary sees it: bytes that it hasn't on disk, and hasn't replayed."""

    flush_lag: int
    replay_lag: int

    @property
    def is_close(self) -> bool:
        """Whether the rest is sent and replayed in no time."""
        return self.flush_lag < 1 << 20 and self.replay_lag < 16 << 20


def refuse_hand_over(
    standing: Standing,
    peer: Peer,
    answer: PeerAnswer,
    follower: Follower | None,
    timeline: int | None,
    fence: str | None,
) -> None:
    """PgError unless this running primary may hand over to ``peer``."""
    if fence is not None:
        raise PgError(
            f"this instance is fenced ({fence or 'no reason given'}), expected no fence marker. Nothing was changed. "
            "Run status.yml to see which is the primary",
            reason=fence,
        )
    if standing.in_recovery:
        raise PgError(
            f"this instance is a standby on timeline {standing.timeline}, expected the primary, and {peer.name} is no "
            "primary either. Nothing was changed. Run status.yml to see which is",
            state="standby",
        )
    if timeline not in (None, standing.timeline):
        raise PgError(
            f"this primary is on timeline {standing.timeline}, expected timeline {timeline}. Nothing was changed. Run "
            "status.yml, then decide again",
            found=standing.timeline,
            expected=timeline,
        )
    if answer.in_recovery is None:
        raise PgError(
            f"{peer.name} can't be asked: {answer.error}. Expected: it runs, pg_hba.conf there lets the replication "
            "role connect to the database postgres, the password file and the certificate are right. Nothing was "
            "changed. Run site.yml, then switch over again",
            peer=peer.name,
        )
    if answer.system_identifier != standing.system_identifier:
        raise PgError(
            f"{peer.name} has system identifier {answer.system_identifier}, expected {standing.system_identifier}: it "
            "belongs to another cluster. Nothing was changed. Check its address and port",
            found=answer.system_identifier,
            expected=standing.system_identifier,
        )
    if not answer.in_recovery:
        raise PgError(
            f"{peer.name} is a primary too, on timeline {answer.timeline}; this one is on timeline "
            f"{standing.timeline}. Expected a standby there. Nothing was changed. Run status.yml",
            timeline=answer.timeline,
        )
    if follower is None:
        raise PgError(
            f"{peer.name} doesn't stream from this primary, expected that it does: nothing could be proven to be on "
            "both. Nothing was changed. Run site.yml to make it follow this primary",
            peer=peer.name,
        )


@dataclass(frozen=True)
class Successor:
    """What the candidate said last. ``armed``: somebody there waits for the shutdown, or promotes."""

    in_recovery: bool
    armed: bool


class Verdict(StrEnum):
    """What the old primary does, once it was stopped."""

    WAIT = "wait"
    HANDED_OVER = "handed_over"
    HAND_BACK = "hand_back"
    SILENT = "silent"
    UNDECIDED = "undecided"


def verdict(successor: Successor | None, silent: float, waited: float, timeout: float) -> Verdict:
    """What to do now; ``successor`` is None while it can't be asked, which it couldn't for ``silent`` seconds.

    ``waited``: seconds since the stop. The candidate stays armed ``timeout`` seconds at most, and it armed before the
    stop; one that still is after PATIENCE times that is frozen, and may promote when it thaws.
    """
    if successor is not None and not successor.in_recovery:
        return Verdict.HANDED_OVER
    if successor is not None and not successor.armed:
        return Verdict.HAND_BACK
    if successor is None and silent >= timeout:
        return Verdict.SILENT
    return Verdict.UNDECIDED if waited >= PATIENCE * timeout else Verdict.WAIT
