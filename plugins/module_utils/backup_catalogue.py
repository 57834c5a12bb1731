# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a repository of pgBackRest holds, and which part of it a restore takes; or why it must not. Pure.

Times are seconds since the epoch, as pgBackRest gives them (https://pgbackrest.org/command.html#command-info).
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import Lsn, TimelineSwitch


class BackupError(Exception):
    """What was found, what was expected, and what to do."""


@dataclasses.dataclass(frozen=True)
class Backup:
    """One backup. It is consistent from *stop* on. *size* is that of the database, in bytes."""

    label: str
    kind: str
    repository: int
    history: int
    start: float
    stop: float
    size: int
    wal_first: str
    wal_last: str
    lsn_stop: str
    broken: bool

    @property
    def timeline(self) -> int:
        """The timeline that the server was on when the backup ended."""
        return int(self.wal_last[:8], 16)


@dataclasses.dataclass(frozen=True)
class Archive:
    """The WAL of one history: first and last file."""

    repository: int
    history: int
    first: str
    last: str


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """A stanza. *histories* maps its numbers to the ``system_identifier`` of the cluster each belongs to; the newest is
    the largest number; there is none before the stanza is made. *troubles* are pgBackRest's own words on repositories
    that it can't use. *version* is PostgreSQL's, of the newest history. *timeline* is that of the way that a restore
    takes, and *ancestry* how it came about; None and empty while nothing was archived. It is *assumed* where nobody
    named it, and no primary lives that writes it; then *rivals* are timelines that were written on beside that way
    since the newest backup."""

    stanza: str
    histories: Mapping[int, str]
    backups: tuple[Backup, ...]
    archives: tuple[Archive, ...]
    troubles: tuple[str, ...]
    version: int | None = None
    timeline: int | None = None
    ancestry: tuple[TimelineSwitch, ...] = ()
    assumed: bool = False
    rivals: tuple[int, ...] = ()

    @property
    def history(self) -> int:
        """Number of the newest history, 0 without any."""
        return max(self.histories, default=0)

    @property
    def system_identifier(self) -> str:
        """Of the cluster that is backed up, empty before the stanza is made."""
        return self.histories.get(self.history, "")

    @property
    def whole(self) -> tuple[Backup, ...]:
        """Backups of the newest history without a known fault, oldest first."""
        return tuple(one for one in self.backups if one.history == self.history and not one.broken)

    @property
    def usable(self) -> Catalogue:
        """The same without what lies in a repository that has troubles."""
        broken = {int(one.split()[1].rstrip(":")) for one in self.troubles}
        return dataclasses.replace(
            self,
            backups=tuple(one for one in self.backups if one.repository not in broken),
            archives=tuple(one for one in self.archives if one.repository not in broken),
        )

    def leads_on(self, backup: Backup) -> bool:
        """Whether the way that a restore takes leads through *backup*."""
        if self.timeline is None or backup.timeline == self.timeline or not backup.lsn_stop:
            return True
        end = Lsn.parse(backup.lsn_stop)
        return any(one.timeline == backup.timeline and end <= one.switch_lsn for one in self.ancestry)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **dataclasses.asdict(self),
            "histories": {str(number): owner for number, owner in self.histories.items()},
            "ancestry": [{"timeline": one.timeline, "switch_lsn": str(one.switch_lsn)} for one in self.ancestry],
            "system_identifier": self.system_identifier,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Catalogue:
        """Read back what ``to_dict`` gave."""
        return cls(
            stanza=data["stanza"],
            histories={int(number): owner for number, owner in data["histories"].items()},
            backups=tuple(Backup(**one) for one in data["backups"]),
            archives=tuple(Archive(**one) for one in data["archives"]),
            troubles=tuple(data["troubles"]),
            version=data["version"],
            timeline=data["timeline"],
            ancestry=tuple(TimelineSwitch(one["timeline"], Lsn.parse(one["switch_lsn"])) for one in data["ancestry"]),
            assumed=data.get("assumed", False),
            rivals=tuple(data.get("rivals", ())),
        )


def find_rivals(spans: Mapping[int, tuple[str, str]], way: Sequence[int], since: int) -> tuple[int, ...]:
    """Timelines on which somebody went on after the *way* had left them, or that it never led along.

    *way* ends with the timeline that it leads to. *spans*: names of the first and the last file of WAL of each timeline
    that has any in the archive, without the timeline. *since*: the timeline of the newest backup; what was before
    doesn't matter.
    """
    found = {timeline for timeline in spans if timeline > since and timeline not in way}
    ways = [timeline for timeline in way if timeline >= since and (timeline in spans or timeline == way[-1])]
    for older, newer in itertools.pairwise(ways):
        # A timeline begins with the file in which it left the one before.
        if newer not in spans or spans[older][1] > spans[newer][0]:
            found.add(older)
    return tuple(sorted(found))


def parse_info(text: str, stanza: str) -> Catalogue:
    """The catalogue from ``pgbackrest info --output=json``. BackupError if that isn't it."""
    try:
        stanzas = {found["name"]: found for found in json.loads(text)}
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"pgbackrest info said {text[:200]!r}, expected JSON: {error!r}") from error
    if stanza not in stanzas:
        return Catalogue(stanza, {}, (), (), ())
    found = stanzas[stanza]
    return Catalogue(
        stanza,
        {one["id"]: str(one["system-id"]) for one in found.get("db", [])},
        tuple(sorted((_backup(one) for one in found.get("backup", [])), key=lambda backup: backup.stop)),
        tuple(
            Archive(one["database"]["repo-key"], one["database"]["id"], one["min"], one["max"])
            for one in found.get("archive", [])
            if one.get("max")
        ),
        tuple(
            f"repository {one['key']}: {one['status']['message']}"
            for one in found.get("repo", [])
            # 0: ok; 1: no stanza yet; 2: no backup yet. The two are said better where one is looked for.
            if one["status"]["code"] not in (0, 1, 2)
        ),
        version=next((int(one["version"].partition(".")[0]) for one in found.get("db", [])[-1:]), None),
    )


def _backup(found: dict[str, Any]) -> Backup:
    return Backup(
        label=found["label"],
        kind=found["type"],
        repository=found["database"]["repo-key"],
        history=found["database"]["id"],
        start=float(found["timestamp"]["start"]),
        stop=float(found["timestamp"]["stop"]),
        size=int(found["info"]["size"]),
        wal_first=found["archive"]["start"] or "",
        wal_last=found["archive"]["stop"] or "",
        lsn_stop=found.get("lsn", {}).get("stop") or "",
        # Absent in versions before 2.36.
        broken=bool(found.get("error", False)),
    )


def parse_time(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 time with its offset; BackupError without one: whose clock would it be?"""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise BackupError(
            f"{text!r} is no time, expected one such as 2026-11-23T14:05:00+00:00. Nothing was changed"
        ) from None
    if moment.tzinfo is None:
        raise BackupError(
            f"{text!r} doesn't say in which zone, expected an offset as in {text}+00:00 or {text}Z. Nothing was changed"
        )
    return moment.timestamp()


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is to be restored: up to the moment *time*; or the backup *label* and nothing after it; or, with neither,
    all that the archive has."""

    time: float | None = None
    label: str = ""


@dataclasses.dataclass(frozen=True)
class Choice:
    """The backup that a restore begins with, and ``pgbackrest restore``'s own options for where it ends."""

    backup: Backup
    options: tuple[str, ...]


def choose(catalogue: Catalogue, wanted: Wanted, now: float, system_identifier: str = "") -> Choice:
    """What to restore. BackupError, with nothing touched, if it can't be had.

    *system_identifier* is that of the cluster to be replaced, empty where none is left.
    """
    if catalogue.troubles:
        catalogue = catalogue.usable
        if not catalogue.whole:
            raise BackupError(f"{'; '.join(catalogue.troubles)}. Nothing was changed. Look with: pgbackrest info")
    refused = another_cluster(catalogue, system_identifier)
    if refused:
        raise BackupError(refused)
    if not catalogue.whole:
        raise BackupError("the repository has no whole backup. Nothing was changed. Make one: backup.yml")
    if wanted.label:
        chosen = _by_label(list(catalogue.whole), wanted.label)
    else:
        _refuse_doubtful_way(catalogue)
        chosen = _by_time([one for one in catalogue.whole if catalogue.leads_on(one)], wanted.time, now)
        if catalogue.timeline is not None:
            # By name: the newest one in the archive may be of somebody who was promoted by mistake.
            way = "current" if catalogue.timeline == chosen.backup.timeline else catalogue.timeline
            chosen = Choice(chosen.backup, (*chosen.options, f"--target-timeline={way}"))
    if catalogue.troubles:
        # By number: another one may be broken, or not answer.
        chosen = Choice(chosen.backup, (*chosen.options, f"--repo={chosen.backup.repository}"))
    return chosen


def another_cluster(catalogue: Catalogue, system_identifier: str) -> str:
    """What is to be said if the repository isn't that of this cluster; empty if it is, or may be."""
    owner = catalogue.system_identifier
    if not owner or not system_identifier or owner == system_identifier:
        return ""
    return (
        f"the repository holds backups of the cluster {owner}, expected {system_identifier}, which is the one here. "
        "Nothing was changed. If it is another site's repository, correct pg_backup_directory; if those backups are no "
        "longer wanted, move that folder away"
    )


def kept_backups(catalogue: Catalogue) -> str:
    """What is to be done where no member holds a database, but there are backups of one; empty without any.

    BackupError if there were some, and none can be told of now.
    """
    if not catalogue.whole and (catalogue.troubles or catalogue.histories):
        raise BackupError(
            "no member holds a database, and the repository knew one, but shows no whole backup of it"
            f"{''.join(f'; {trouble}' for trouble in catalogue.troubles)}. Is it the right passphrase, and the right "
            "folder? If what is there is no longer wanted, move pg_backup_directory away on the backup host"
        )
    if not catalogue.whole:
        return ""
    newest = catalogue.whole[-1]
    return (
        "no member holds a database, and there are backups of one (system identifier "
        f"{catalogue.system_identifier}, the newest, {newest.label}, of {utc(newest.stop)}): restore.yml -e "
        "restore_to=latest brings it back, then run site.yml again. If they are no longer wanted, move "
        "pg_backup_directory away on the backup host"
    )


def _refuse_doubtful_way(catalogue: Catalogue) -> None:
    """BackupError if the newest timeline, which nobody named, doesn't lead through the newest backup, or another one
    was written on since.

    Somebody who was promoted by mistake archived it; along it all would be lost that was written elsewhere since.
    """
    newest = catalogue.whole[-1]
    if not catalogue.assumed:
        return
    if not catalogue.leads_on(newest):
        other = newest.timeline
        why = f"doesn't lead through the newest backup, {newest.label} of {utc(newest.stop)}, made on timeline {other}"
    elif catalogue.rivals:
        other = catalogue.rivals[-1]
        why = f"is not the only one that was written since the newest backup: so was timeline {other}, beside it"
    else:
        return
    raise BackupError(
        f"the newest timeline in the archive, {catalogue.timeline}, {why}: somebody may have been promoted by mistake. "
        "Nothing was changed. Say which one is to be followed: "
        f"-e restore_timeline={other}, or -e restore_timeline={catalogue.timeline}"
    )


def _by_label(backups: list[Backup], label: str) -> Choice:
    for backup in backups:
        if backup.label == label:
            return Choice(backup, (f"--set={label}", "--type=immediate", "--target-action=pause"))
    there = ", ".join(backup.label for backup in backups)
    raise BackupError(f"there is no backup {label!r}, there are {there}. Nothing was changed")


def _by_time(backups: list[Backup], time: float | None, now: float) -> Choice:
    if not backups:
        raise BackupError("no backup lies on the timeline to restore. Nothing was changed. Make one: backup.yml")
    if time is None:
        return Choice(backups[-1], (f"--set={backups[-1].label}", "--type=default"))
    if time > now:
        raise BackupError(f"{utc(time)} is in the future, it is {utc(now)} now. Nothing was changed")
    # Times of backups are whole seconds, cut off.
    before = [backup for backup in backups if backup.stop + 1 <= time]
    if not before:
        raise BackupError(
            f"the oldest backup, {backups[0].label}, is of {utc(backups[0].stop)}: {utc(time)} was before it. Nothing "
            "was changed"
        )
    chosen = before[-1]
    moment = datetime.datetime.fromtimestamp(time, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
    return Choice(chosen, (f"--set={chosen.label}", "--type=time", f"--target={moment}", "--target-action=pause"))


def utc(moment: float) -> str:
    """A time for people."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
