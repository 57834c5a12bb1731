# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How an instance, whatever it is, becomes a standby of the primary again: decided without I/O.

Nothing that exists nowhere else is discarded: it is saved first, or nothing is changed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Lsn,
    Observation,
    PgError,
    State,
    TimelineSwitch,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_fork import (
    History,
    Span,
    beyond,
    common_point,
    segments_of,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_steps import (
    NOTHING_LOST,
    Local,
    Lost,
    Source,
    Step,
    Wanted,
    chosen,
    refuse_other_cluster,
    slot_steps,
    streaming_steps,
    tidy_steps,
)

ROOM_TO_SPARE = 64 << 20  # bytes that a copy needs beside what the upstream's databases take


class Route(StrEnum):
    """The way back."""

    CLONE = "clone"  # there is nothing here
    FOLLOW = "follow"  # what is here is a part of the primary's history, and a standby
    RESUME = "resume"  # the same, but it was a primary
    REWIND = "rewind"  # what is here parted from the primary's history
    COPY = "copy"  # what is here can't be made fit


@dataclass(frozen=True)
class Primary:
    """What the upstream says of itself; ``size``: bytes of its databases, ``oldest``: first WAL segment it has."""

    source: Source
    in_recovery: bool
    history: History
    oldest: int | None = None
    size: int = 0


@dataclass(frozen=True)
class SavedFork:
    """What an earlier step found beyond ``fork`` in ``history``.

    ``failed``: why pg_rewind is not to be tried again.
    """

    history: History
    fork: TimelineSwitch
    lost: Lost = NOTHING_LOST
    failed: str | None = None

    def covers(self, fork: TimelineSwitch | None) -> bool:
        """Whether everything beyond ``fork`` was seen then."""
        return fork is not None and fork.timeline == self.fork.timeline and fork.switch_lsn >= self.fork.switch_lsn

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a file."""
        return {
            "timeline": self.history.timeline,
            "end": None if self.history.end is None else str(self.history.end),
            "switches": [[item.timeline, str(item.switch_lsn)] for item in self.history.switches],
            "fork": [self.fork.timeline, str(self.fork.switch_lsn)],
            "transactions": self.lost.transactions,
            "directory": self.lost.directory,
            "failed": self.failed,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SavedFork:
        """Read back what ``to_dict`` gave."""
        switches = tuple(TimelineSwitch(timeline, Lsn.parse(lsn)) for timeline, lsn in data["switches"])
        end = None if data["end"] is None else Lsn.parse(data["end"])
        timeline, lsn = data["fork"]
        return cls(
            History(data["timeline"], switches, end),
            TimelineSwitch(timeline, Lsn.parse(lsn)),
            Lost(data["transactions"], data["directory"]),
            data["failed"],
        )


@dataclass(frozen=True)
class Own:
    """What is on this host's disk, beyond what is observed of the instance.

    ``segments``: names of the WAL files; ``rewindable``: checksums or WAL-logged hints are on;
    ``same_wal``: whether the WAL before the common point is the upstream's, None where it couldn't be
    compared; ``halfway``: a rewind was interrupted; ``free``: bytes on the disk.
    """

    history: History
    segments: Collection[str] = ()
    segment_size: int = 16 << 20
    rewindable: bool = True
    same_wal: bool | None = None
    saved: SavedFork | None = None
    halfway: bool = False
    free: int = 1 << 62


@dataclass(frozen=True)
class Decision:
    """``fork``: where this instance left the primary's history, None if it didn't. ``doubt``: what is given up."""

    route: Route
    reason: str
    steps: tuple[Step, ...]
    fork: TimelineSwitch | None = None
    doubt: str | None = None

    def lost(self, own: Own) -> tuple[Span, ...]:
        """The parts of this instance's history that the primary doesn't have."""
        return beyond(own.history, self.fork) if self.fork else ()


def rejoin(observed: Observation, wanted: Wanted, local: Local, own: Own, primary: Primary) -> Decision:
    """What is to be done; PgError says why nothing is, and what would permit it."""
    refuse_other_cluster(observed, wanted, primary.source)
    if not observed.has_data and not own.halfway:
        return _decision(Route.CLONE, "there is no database", observed, wanted, local, own, primary)
    if primary.in_recovery:
        raise PgError(
            f"the upstream {wanted.where} is a standby itself, expected the primary: only a primary can tell whether "
            "what is here exists elsewhere. Nothing was changed. Run status.yml to see which is the primary"
        )
    if observed.state is State.PRIMARY:
        _refuse_running_primary(observed, wanted, own, primary)
    common = common_point(own.history, primary.history)
    if _is_contained(observed, own, common):
        return _contained(observed, wanted, local, own, primary)
    return _diverged(observed, wanted, local, own, primary, common)


def _is_contained(observed: Observation, own: Own, common: TimelineSwitch | None) -> bool:
    """Whether the whole history of this instance is the upstream's too."""
    return (
        common is not None
        and own.history.end is not None
        and own.history.timeline == common.timeline
        and own.history.end <= common.switch_lsn
        and own.same_wal is not False
        # When it stops it writes a checkpoint, which the primary of a later timeline can't have.
        and observed.state is not State.PRIMARY
        and not own.halfway
    )


def _contained(observed: Observation, wanted: Wanted, local: Local, own: Own, primary: Primary) -> Decision:
    end = own.history.end or Lsn(0)
    needed = end // own.segment_size
    if primary.oldest is not None and needed < primary.oldest:
        reason = (
            f"it holds the WAL up to {end}, and {wanted.where} no longer has what comes next (its oldest segment "
            f"begins at {Lsn(primary.oldest * own.segment_size)})"
        )
        return _decision(Route.COPY, reason, observed, wanted, local, own, primary)
    reason = f"what it holds (timeline {own.history.timeline} up to {end}) is a part of the primary's history"
    route = Route.FOLLOW if observed.is_standby else Route.RESUME
    return _decision(route, reason, observed, wanted, local, own, primary)


def _diverged(
    observed: Observation,
    wanted: Wanted,
    local: Local,
    own: Own,
    primary: Primary,
    common: TimelineSwitch | None,
) -> Decision:
    held = f"it holds timeline {own.history.timeline} up to {own.history.end or 'an unknown position'}"
    doubt = _doubt(wanted, own, primary, common)
    if doubt is not None and not wanted.discard:
        raise PgError(
            f"{observed.data_directory}: {held}, and {doubt}. What it holds may exist nowhere else, and can't be saved "
            f"with certainty. Nothing was changed. {_permit(wanted, 'give it up')}"
        )
    if common is None:
        return _decision(Route.COPY, f"{held}, and {doubt}", observed, wanted, local, own, primary, None, doubt)
    reason = f"{held}, the primary left that history on timeline {common.timeline} at {common.switch_lsn}"
    obstacle = _obstacle_to_rewind(own, primary, common)
    if obstacle is not None:
        reason = f"{reason}; {obstacle}"
    route = Route.REWIND if obstacle is None else Route.COPY
    return _decision(route, reason, observed, wanted, local, own, primary, common, doubt)


def _doubt(wanted: Wanted, own: Own, primary: Primary, common: TimelineSwitch | None) -> str | None:
    """Why it can't be shown, or saved, what would be lost; None where it can."""
    theirs = primary.history
    if own.history.timeline > theirs.timeline:
        return (
            f"{wanted.where} is only on timeline {theirs.timeline}: it may be an old primary itself, status.yml says "
            "which is the right one"
        )
    if common is None:
        return f"no timeline of it is one of {wanted.where}'s (timeline {theirs.timeline})"
    if own.halfway:
        # Its WAL is half the primary's by now; what counts is what was known before.
        covered = own.saved is not None and own.saved.covers(common)
        return None if covered else "an interrupted rewind was made for another primary"
    if own.same_wal is False:
        return f"its WAL before {common.switch_lsn} is not that of {wanted.where}, although the timeline is the same"
    if own.history.end is None:
        return "the end of its WAL can't be found"
    if common.timeline == own.history.timeline == theirs.timeline:
        return (
            f"{wanted.where} holds the same timeline only up to {theirs.end}: it may have been restored from an older "
            "copy"
        )
    if not is_whole(own, common):
        return f"not all of its WAL from {common.switch_lsn} on is there"
    return None


def is_whole(own: Own, fork: TimelineSwitch) -> bool:
    """Whether all WAL beyond ``fork`` is on this host."""
    there = frozenset(own.segments)
    spans = beyond(own.history, fork)
    return own.history.end is not None and all(
        name in there for span in spans for name in segments_of(span, own.segment_size)
    )


def _obstacle_to_rewind(own: Own, primary: Primary, common: TimelineSwitch) -> str | None:
    """Why pg_rewind can't do it (https://www.postgresql.org/docs/current/app-pgrewind.html)."""
    if own.saved is not None and own.saved.failed is not None:
        return f"pg_rewind couldn't do it: {own.saved.failed}"
    if own.same_wal is False:
        return "it parted from it earlier, nobody knows where"
    if own.history.timeline == primary.history.timeline and common.timeline == own.history.timeline:
        return "pg_rewind can't tell two histories of one timeline apart"
    if not own.rewindable:
        return "pg_rewind needs data checksums or wal_log_hints, and both are off"
    if not own.halfway and not is_whole(own, common):
        return f"pg_rewind needs its WAL from {common.switch_lsn} on, which isn't all there"
    return None


def _refuse_running_primary(observed: Observation, wanted: Wanted, own: Own, primary: Primary) -> None:
    mine, theirs = own.history, primary.history
    found = f"{observed.data_directory} belongs to a running primary on timeline {mine.timeline}"
    left = [span for span in theirs.spans[:-1] if span.timeline == mine.timeline]
    if not left or common_point(mine, theirs) is None:
        raise PgError(
            f"{found}, the upstream {wanted.where} is on timeline {theirs.timeline}, expected a later timeline that "
            "came out of this one: nothing shows that this instance is the obsolete one. Nothing was changed. Run "
            "status.yml; stop PostgreSQL on the one to give up, then run rejoin.yml for it",
            state=observed.state.value,
        )
    if not wanted.stop_primary:
        raise PgError(
            f"{found}, which {wanted.where} left at {left[0].end} for timeline {theirs.timeline}: it is obsolete, but "
            "may still accept writes. Nothing was changed. Stop it (systemctl stop), or permit it to be stopped by "
            "stop_primary: true",
            state=observed.state.value,
        )


def _decision(
    route: Route,
    reason: str,
    observed: Observation,
    wanted: Wanted,
    local: Local,
    own: Own,
    primary: Primary,
    fork: TimelineSwitch | None = None,
    doubt: str | None = None,
) -> Decision:
    """``route`` with its steps. Every step may be the last one of a run; the next run decides anew."""
    running = observed.state in (State.STANDBY, State.PRIMARY)
    replaced = route in (Route.REWIND, Route.COPY)
    copied = route in (Route.COPY, Route.CLONE)
    tight = copied and observed.has_data and _is_tight(observed, wanted, own, primary)
    # The rows that are saved are read by a server that is no standby: the marker comes first.
    risky = fork is not None or not observed.is_standby
    fence = replaced and observed.has_data and not local.fenced and risky
    before = {
        Step.FENCE: fence,
        Step.STOP: replaced and running,
        Step.SAVE_FORK: replaced and observed.has_data and fork is not None and not _is_saved(own, fork),
    }
    during = {
        Step.CHECKPOINT: route is Route.REWIND,
        Step.REWIND: route is Route.REWIND,
        Step.DISCARD_LEFT_OVER: copied and observed.clone_in_progress,
        Step.DISCARD_DATA: tight,
        Step.COPY: copied,
        Step.STANDBY_SIGNAL: route is Route.RESUME,
    }
    after = replace(
        local, fenced=local.fenced or fence, left_overs=local.left_overs or (replaced and observed.has_data)
    )
    steps = (
        *chosen(before),
        *slot_steps(primary.source),
        *chosen(during),
        *streaming_steps(observed, wanted, local, running and not replaced),
        *tidy_steps(after),
    )
    return Decision(route, reason, steps, fork, doubt)


def _is_saved(own: Own, fork: TimelineSwitch) -> bool:
    return own.saved is not None and own.saved.covers(fork) and own.saved.history == own.history


def _is_tight(observed: Observation, wanted: Wanted, own: Own, primary: Primary) -> bool:
    """Whether what is here must go before a copy is made; PgError if it may not."""
    needed = primary.size + primary.size // 10 + ROOM_TO_SPARE
    if own.free >= needed:
        return False
    if not wanted.discard:
        raise PgError(
            f"a fresh copy beside {observed.data_directory} needs about {needed >> 20} MB, {own.free >> 20} MB are "
            f"free. Nothing was changed. Make room. {_permit(wanted, 'remove the old data before the copy is made')}",
            needed=needed,
            free=own.free,
        )
    return True


def _permit(wanted: Wanted, what: str) -> str:
    name = wanted.replication.application_name
    return f"To {what}, set discard: true (rejoin.yml: -e rejoin_discard={name})"
