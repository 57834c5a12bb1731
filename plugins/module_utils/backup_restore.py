# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``restore.yml`` does, decided from what is declared, observed and wanted; or why it must not. Pure.

A restore that replaces the database is made beside it first. Only once it has come to the wanted point is anything
stopped; the old data directory is kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import (
    BackupError,
    Catalogue,
    Wanted,
    choose,
    parse_time,
    utc,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import Observation, State, listed

LATEST = "latest"


class What(StrEnum):
    """What is restored."""

    ALL = "all"
    DATABASE = "database"
    MEDIA = "media"


class Place(StrEnum):
    """Where the restored database goes."""

    REPLACE = "replace"
    BESIDE = "beside"
    ABSENT = "absent"


@dataclasses.dataclass(frozen=True)
class Request:
    """What the operator asked for. *to* is a time, ``latest`` or empty; *label* a backup's; *host* a member's name,
    empty for the primary."""

    what: What = What.ALL
    to: str = ""
    label: str = ""
    timeline: int | None = None
    host: str = ""
    place: Place = Place.REPLACE

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Request:
        """From the playbook's variables; BackupError for what can't be meant."""
        place = str(data.get("place") or Place.REPLACE)
        if place not in list(Place):
            raise BackupError(f"restore_place is {place!r}, expected {' or '.join(Place)}. Nothing was changed")
        what = str(data.get("what") or What.ALL)
        if what not in list(What):
            raise BackupError(f"restore_what is {what!r}, expected {' or '.join(What)}. Nothing was changed")
        timeline = str(data.get("timeline") or "")
        if timeline and not timeline.isdigit():
            raise BackupError(f"restore_timeline is {timeline!r}, expected a number. Nothing was changed")
        request = cls(
            What(what),
            str(data.get("to") or ""),
            str(data.get("label") or ""),
            int(timeline) if timeline else None,
            str(data.get("host") or ""),
            Place(place),
        )
        if request.place is not Place.ABSENT and bool(request.to) is bool(request.label):
            raise BackupError(
                "say what to restore, one of the two: -e restore_to=2026-11-24T14:05:00+00:00 (or latest), or "
                "-e restore_label= with a backup's label. Nothing was changed"
            )
        if request.what is What.MEDIA and request.place is not Place.REPLACE:
            raise BackupError(
                "restore_what=media goes with no restore_place: files are brought back into the store, and nothing in "
                "it is removed. Nothing was changed"
            )
        return request

    @property
    def wanted(self) -> Wanted:
        """The point in time."""
        return Wanted(None if self.to in ("", LATEST) else parse_time(self.to), self.label)


@dataclasses.dataclass(frozen=True)
class RestorePlan:
    """The decision. With any of *refusals* nothing may be changed.

    *target* restores; *live* says whether it is the running primary. *label*, *options* and *size* are of the backup
    that it begins with. *stop_first*: everybody is stopped before, so that nothing is written after the last WAL.
    *version* is PostgreSQL's, *timeline* the latest that a member was on when this was decided. With *media* files come
    back too, as of *moment* (seconds since the epoch, None for the newest snapshot), and are compared with the database
    on *rows_from*. Without a database to restore *target* is empty and *place* media.
    """

    refusals: tuple[str, ...]
    target: str = ""
    live: bool = False
    place: str = Place.REPLACE
    label: str = ""
    options: tuple[str, ...] = ()
    size: int = 0
    stop_first: bool = False
    standbys: tuple[str, ...] = ()
    version: int | None = None
    timeline: int = 0
    media: bool = False
    moment: float | None = None
    rows_from: str = ""
    text: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        data = dataclasses.asdict(self)
        return {**data, **{name: list(data[name]) for name in ("refusals", "options", "standbys")}}


def restore_plan(
    members: Sequence[str],
    observations: Mapping[str, Observation | None],
    backups: Mapping[str, Any] | None,
    asked: Mapping[str, Any],
    now: float,
) -> RestorePlan:
    """What to restore, where, and what that costs.

    *members* are the declared ones in order; *backups* what ``backup_info`` observed, None if there is no repository;
    *asked* the fields of ``Request``; *now* seconds since the epoch.
    """
    try:
        return _plan(members, observations, backups, Request.from_dict(asked), now)
    except BackupError as error:
        return RestorePlan((str(error),))


def _plan(
    members: Sequence[str],
    observations: Mapping[str, Observation | None],
    backups: Mapping[str, Any] | None,
    request: Request,
    now: float,
) -> RestorePlan:
    seen = {name: one for name in members if (one := observations.get(name)) is not None}
    if request.place is Place.ABSENT:
        target = _target(members, seen, request)
        return RestorePlan(
            (),
            target=target,
            place=request.place.value,
            version=seen[target].version,
            text=f"Removes the copy on {target}",
        )
    if not backups:
        raise BackupError(
            "no backups can be read: the host of the group backup can't be reached or was not set up, or there is "
            "none. Nothing was changed"
        )
    primaries = [name for name, one in seen.items() if one.state is State.PRIMARY]
    catalogue = Catalogue.from_dict(backups["catalogue"])
    snapshots = (backups.get("media") or {}).get("times", ())
    media = request.place is Place.REPLACE and request.what is not What.DATABASE
    if request.what is What.MEDIA:
        return _media_alone(primaries, catalogue, snapshots, request, now)
    target = _target(members, seen, request)
    live = target in primaries
    identifiers = {one.system_identifier for one in seen.values() if one.has_data and one.system_identifier}
    if len(identifiers) > 1 or len(primaries) > 1:
        raise BackupError(
            "the members don't belong to one cluster, or several of them are primaries. Nothing was changed. Mend that "
            "first: status.yml says how"
        )
    choice = choose(catalogue, request.wanted, now, next(iter(identifiers), ""))
    replaces = request.place is Place.REPLACE
    plan = RestorePlan(
        (),
        target=target,
        live=live,
        place=request.place.value,
        label=choice.backup.label,
        options=choice.options,
        size=choice.backup.size,
        stop_first=replaces and live and request.to == LATEST,
        standbys=tuple(name for name in members if name != target) if replaces else (),
        version=max((one.version for one in seen.values() if one.has_data and one.version), default=catalogue.version),
        timeline=max((one.timeline for one in seen.values()), default=0),
        media=media and bool(snapshots),
        moment=choice.backup.stop if request.label else request.wanted.time,
        rows_from=target if media else "",
    )
    backup = f"{choice.backup.label} (of {utc(choice.backup.stop)}, {choice.backup.size / 1e6:.0f} MB)"
    lines = [*_lines(plan, request, backup, seen), *(_media_lines(plan, snapshots) if media else ())]
    lines += [f"  without      {trouble}" for trouble in catalogue.troubles]
    return dataclasses.replace(plan, text="\n".join(lines))


def _media_alone(
    primaries: Sequence[str], catalogue: Catalogue, snapshots: Sequence[float], request: Request, now: float
) -> RestorePlan:
    moment = request.wanted.time
    if request.label:
        moment = choose(catalogue, request.wanted, now).backup.stop
    if moment is not None and moment > now:
        raise BackupError(f"{utc(moment)} is in the future, it is {utc(now)} now. Nothing was changed")
    if not snapshots:
        raise BackupError("there is no snapshot of the store. Nothing was changed. Take one: backup.yml")
    plan = RestorePlan((), place=What.MEDIA.value, media=True, moment=moment, rows_from=(*primaries, "")[0])
    return dataclasses.replace(plan, text="\n".join(("Restore: the media", *_media_lines(plan, snapshots))))


def _media_lines(plan: RestorePlan, snapshots: Sequence[float]) -> Iterator[str]:
    if not snapshots:
        yield "  media        stay as they are: there is no snapshot of the store"
        return
    before = [time for time in snapshots if plan.moment is None or time <= plan.moment]
    of = f"the snapshot of {utc(max(before))}" if before else f"the first snapshot, of {utc(min(snapshots))}"
    if plan.moment is None:
        yield f"  media        what is missing comes back from {of}"
    else:
        yield f"  media        as in {of}; nothing is removed, and what gives way is kept"


def _target(members: Sequence[str], seen: Mapping[str, Observation], request: Request) -> str:
    if request.host and request.host not in members:
        raise BackupError(
            f"restore_host is {request.host}, expected a member of the cluster ({listed(members)}). Nothing was changed"
        )
    primaries = [name for name, one in seen.items() if one.state is State.PRIMARY]
    if request.place is not Place.REPLACE:
        target = request.host or (primaries or [""])[0]
        if target not in seen:
            raise BackupError(f"{target or 'no primary'} can't be reached or found: name another one by restore_host")
        return target
    silent = [name for name in members if name not in seen]
    if silent:
        raise BackupError(
            f"{listed(silent)} can't be reached, and may be a primary that would go on beside the restored one. "
            "Nothing was changed. Bring it back, or take it out of the inventory if it is gone for good"
        )
    if primaries and request.host and request.host != primaries[0]:
        raise BackupError(
            f"restore_host is {request.host}, and {primaries[0]} is the live primary, whose place the restored "
            "database takes. Nothing was changed. Leave restore_host out, or restore beside: -e restore_place=beside"
        )
    # With nothing to choose between it is the inventory's initial primary, as for a new cluster.
    chosen = request.host or ("" if any(one.has_data for one in seen.values()) else members[0])
    if not primaries and not chosen:
        raise BackupError(
            "nobody is the primary. Nothing was changed. If a member still holds the data, failover.yml or site.yml "
            f"start it without losing anything. To restore nevertheless, name the host: -e restore_host={members[0]}"
        )
    if not primaries and seen[chosen].has_fence_marker:
        raise BackupError(
            f"{chosen} is fenced ({seen[chosen].fenced_reason or 'no reason given'}) and would not start. "
            "Nothing was changed. Name another host, or remove the file that ends in .fenced from /var/lib/postgresql"
        )
    return primaries[0] if primaries else chosen


def overtaken(planned: int, stopped: Mapping[str, Observation | None]) -> list[str]:
    """What speaks against replacing a database now that everybody is *stopped*: a restore takes long, and somebody may
    have failed over meanwhile. *planned* is the plan's ``timeline``."""
    return [
        f"{name} is {'out of reach' if one is None else f'on timeline {one.timeline}'} now, expected it stopped on "
        f"timeline {planned} at most: somebody was promoted since this restore was decided. Nothing was overwritten. "
        "Run site.yml, which starts the members, and decide anew"
        for name, one in stopped.items()
        if one is None or one.timeline > planned or one.state in (State.PRIMARY, State.STANDBY)
    ]


def _lines(plan: RestorePlan, request: Request, backup: str, seen: Mapping[str, Observation]) -> Iterator[str]:
    moment = utc(parse_time(request.to)) if request.to not in ("", LATEST) else ""
    what = f"as of {moment}" if moment else "all that was archived" if request.to else "the backup alone"
    yield f"Restore: {what}"
    yield f"  begins with  {backup}"
    if plan.place == Place.BESIDE:
        yield f"  goes         beside the instance on {plan.target}, which is left alone"
        return
    if any(one.has_data for one in seen.values()):
        who = "the live primary" if plan.live else "nobody is the primary"
        yield f"  replaces     the database on {plan.target} ({who}); its data directory is kept beside the new one"
    else:
        yield f"  goes         to {plan.target}; no member holds a database"
    if plan.live and not plan.stop_first:
        yield f"  gives up     what was committed after that; {plan.target} serves until the copy is ready"
    elif plan.stop_first:
        yield "  gives up     nothing; everybody is stopped first, so that the archive has all of it"
    elif any(one.has_data for one in seen.values()):
        yield "  gives up     what the archive never received; the data directories are kept"
    if plan.standbys:
        yield f"  rebuilds     {listed(plan.standbys)}"


def report_lines(plan: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[str]:
    """What was done, and what is left to do. *results* are of the module ``backup_restore``, by its ``state``."""
    ready = results.get("ready") or {}
    seconds = {**ready.get("seconds", {}), **(results.get("finished") or {}).get("seconds", {})}
    took = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
    if plan["place"] == Place.ABSENT:
        yield f"The copy on {plan['target']} is gone."
        return
    if plan["place"] == Place.BESIDE:
        yield f"Restored beside the instance on {plan['target']} ({took}); it accepts writes and archives nothing."
        yield f"Look into it there, as the user postgres: {ready['reach']}"
        yield f"Remove it with: restore.yml -e restore_place=absent -e restore_host={plan['target']}"
        return
    yield f"Restored on {plan['target']}, timeline {results['finished']['restored']['timeline']} ({took})."
    if (ready.get("restored") or {}).get("last_commit"):
        yield f"The last commit in it is of {ready['restored']['last_commit']}."
    if results["placed"].get("old"):
        yield (
            f"The old data directory lies in {results['placed']['old']}. Once nobody misses anything, remove it: "
            f"rm -r, on {plan['target']}."
        )
    yield "A new backup has begun: the ones before are of a history that was left."


def backup_lines(catalogue: Catalogue, backups: Mapping[str, Any]) -> Iterator[str]:
    """The backups of a repository, oldest first."""
    for one in catalogue.backups:
        note = "  BROKEN" if one.broken else ""
        yield f"  {one.label:<34} {one.kind:<5} {utc(one.stop)}  {one.size / 1e6:8.0f} MB{note}"
    for archive in catalogue.archives:
        if archive.history == catalogue.history:
            yield f"  WAL to {archive.last}, in repository {archive.repository}"
    if backups.get("next_backup"):
        yield f"  next backup: {backups['next_backup']}"
    media = (backups.get("media") or {}).get("result") or {}
    if media.get("good"):
        good = media["good"]
        yield (
            f"  media: {good['files']} files, {good['bytes'] / 1e6:.0f} MB, of {utc(good['began'])}; "
            f"{media.get('kept', 0)} snapshots are kept"
        )
    yield from _verified_lines((backups.get("verified") or {}).get("result"))


def _verified_lines(result: Mapping[str, Any] | None) -> Iterator[str]:
    """What the last verified restore found."""
    if result is None:
        yield "  verified: never yet"
        return
    rows = sum(one["rows"] for one in result["databases"].values())
    newest = f", the newest commit of {utc(result['newest'])}" if result["newest"] else ""
    media = f", {result['media']['sampled']} files" if result["media"] else ""
    verdict = "restored and checked" if result["ok"] else "FAILED"
    took = result["ended"] - result["began"]
    yield f"  verified: {verdict} {utc(result['ended'])} in {took:.0f} s: {rows} rows{newest}{media}"
    yield from (f"    ! {problem}" for problem in result["problems"])
    yield from (f"    * {warning}" for warning in result["warnings"])
