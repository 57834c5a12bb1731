# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a standby may be promoted, decided without I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Lsn,
    PgError,
    TimelineSwitch,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_fork import segment_number


@dataclass(frozen=True)
class Peer:
    """Another member of the cluster."""

    name: str
    address: str | None
    port: int = 5432

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Peer:
        """Read ``{"name", "address", "port"}``; other keys are left alone."""
        try:
            return cls(str(data["name"]), data.get("address") or None, int(data.get("port") or 5432))
        except (KeyError, TypeError, ValueError) as error:
            raise PgError(f"found the peer {dict(data)!r}, expected a name, an address and a port") from error


@dataclass(frozen=True)
class PeerAnswer:
    """What a peer said of itself; ``error`` where it said nothing, or not what was asked."""

    in_recovery: bool | None = None
    timeline: int | None = None
    lsn: Lsn | None = None
    system_identifier: str | None = None
    reachable: bool = False
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a module's result."""
        return {**asdict(self), "lsn": str(self.lsn) if self.lsn is not None else None}


@dataclass(frozen=True)
class Standing:
    """The running server on this host, as it says itself. ``streams_from``: address or name, and port."""

    in_recovery: bool
    timeline: int
    system_identifier: str
    lsn: Lsn
    segment_size: int
    replay_paused: bool = False
    streams_from: tuple[str, int] | None = None


def refuse_promotion(standing: Standing, timeline: int | None, fence: str | None) -> None:
    """PgError unless this standby may be promoted, as far as this host can tell.

    ``timeline``: the one that is to begin. ``fence``: the text of the fence marker.
    """
    if fence is not None:
        raise PgError(
            f"this instance is fenced ({fence or 'no reason given'}), expected no fence marker: it was stopped so "
            "that another could be promoted. Nothing was changed. Run status.yml to see which is the primary, and "
            "rejoin.yml to bring this one back",
            reason=fence,
        )
    if not standing.in_recovery:
        if timeline not in (None, standing.timeline):
            raise PgError(
                f"this instance is a primary already, on timeline {standing.timeline}, expected timeline "
                f"{timeline}: somebody else promoted it, or it was never a standby. Nothing was changed. Run "
                "status.yml to see which is the primary",
                found=standing.timeline,
                expected=timeline,
            )
        return
    if timeline is not None and timeline <= standing.timeline:
        raise PgError(
            f"this standby is on timeline {standing.timeline} already, expected that its promotion leads to timeline "
            f"{timeline}: another promotion came first. Nothing was changed. Run status.yml, then decide again",
            found=standing.timeline,
            expected=timeline,
        )
    if standing.replay_paused:
        raise PgError(
            "replay is paused on this standby, expected that it replays: a promotion would end the pause, and what "
            "was to be looked at would be gone. Nothing was changed. Run SELECT pg_wal_replay_resume() on it, then "
            "promote again",
            lsn=str(standing.lsn),
        )


def refuse_beside(standing: Standing, answers: Mapping[str, PeerAnswer]) -> None:
    """PgError if another member of the same cluster accepts writes.

    A server of another cluster at that address is no rival. Silence proves nothing: who fences knows.
    """
    for name, answer in answers.items():
        if answer.in_recovery is False and answer.system_identifier == standing.system_identifier:
            raise PgError(
                f"{name} is still reachable and writable: it is a primary on timeline {answer.timeline} at "
                f"{answer.lsn}, expected no primary beside this standby. Nothing was changed. Run switchover.yml to "
                f"hand over, or fence {name} first",
                peer=name,
                timeline=answer.timeline,
                lsn=str(answer.lsn),
            )


def refuse_behind(standing: Standing, answers: Mapping[str, PeerAnswer]) -> None:
    """PgError if a standby of the same cluster holds more than this one.

    Whoever chose this one looked at a moment when the old primary may still have acknowledged commits that another
    standby alone has. By now the old primary is fenced, and what each of them holds is final.
    """
    for name, answer in answers.items():
        if not answer.in_recovery or answer.system_identifier != standing.system_identifier or answer.lsn is None:
            continue
        # A standby that has lost its primary doesn't know of what timeline it received last.
        theirs = answer.timeline or standing.timeline
        if (theirs, answer.lsn) > (standing.timeline, standing.lsn):
            raise PgError(
                f"{name}, a standby too, holds more: it is at {answer.lsn} on timeline {theirs}, this one at "
                f"{standing.lsn} on {standing.timeline}. Expected that nobody is ahead, for what only {name} has may "
                "have been acknowledged. Nothing was promoted. Run failover.yml again: it chooses the one that holds "
                "the most",
                peer=name,
                lsn=str(answer.lsn),
            )


def uncertainties(answers: Mapping[str, PeerAnswer]) -> Sequence[str]:
    """What is worth a warning: a server that is there and doesn't say whether it is a primary."""
    return [
        f"{name} is reachable, but didn't say whether it is a primary: {answer.error}"
        for name, answer in answers.items()
        if answer.reachable and answer.in_recovery is None
    ]


def to_archive_again(
    names: Iterable[str], timeline: int, ancestry: Iterable[TimelineSwitch], segment_size: int
) -> Iterator[str]:
    """Of the *names* in ``archive_status``, those of the WAL that leads to *timeline* and counts as archived.

    A standby marks what it receives as done, archived or not: that is its primary's business. Once the primary is lost
    nobody else has what it had not archived yet. *ancestry* is how *timeline* came about, *segment_size* in bytes.
    """
    ends = {one.timeline: one.switch_lsn // segment_size for one in ancestry}
    for name in names:
        found = re.fullmatch(r"([0-9A-F]{8})(?:([0-9A-F]{16})|\.history)\.done", name)
        if found is None:
            continue
        of = int(found[1], 16)
        # Where a timeline branched off, its own first file has all of what came before.
        if of == timeline or (of in ends and (not found[2] or segment_number(name, segment_size) < ends[of])):
            yield name
