# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the backups are, as a status has it: the database's, the media's, and the last verified restore. Pure.

What was observed is that of the module ``backup_info``. Times are seconds since the epoch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import Catalogue, utc

Data = Mapping[str, Any]

#: Hours that the newest backup may be old: one a day, and a long one of them.
BACKUP_HOURS = 36
#: Problems of a verification that are named; its result has all.
NAMED = 3


@dataclasses.dataclass(frozen=True)
class Backups:
    """One thing that is kept. *what* is database, media or verified; *newest* says which it is, *stop* its end, *took*
    the seconds that it took, *size* its bytes; None where there is none. *next* is in systemd's words."""

    host: str
    reachable: bool
    what: str
    newest: str | None = None
    stop: float | None = None
    took: float | None = None
    size: int | None = None
    count: int | None = None
    next: str = ""
    problems: tuple[str, ...] = ()


def backups_of(host: str, reachable: bool, looked: bool, seen: Data | None, now: float) -> Iterator[Backups]:
    """The rows of *host*, in the order in which they are worth reading. *looked*: it could be observed; *seen* is None
    where nothing was set up."""
    seen = seen or {}
    catalogue = Catalogue.from_dict(seen["catalogue"]) if seen else Catalogue("", {}, (), (), ())
    yield _database(host, reachable, looked, catalogue, seen, now)
    yield _media(host, reachable, looked, seen.get("media") or {}, now)
    yield _verified(host, reachable, looked, catalogue, seen.get("verified") or {}, now)


def _database(host: str, reachable: bool, looked: bool, catalogue: Catalogue, seen: Data, now: float) -> Backups:
    newest = catalogue.whole[-1] if catalogue.whole else None
    units = seen.get("units", {})
    running = any(unit["ActiveState"] == "activating" for unit in units.values())
    problems = [f"the backups on {host}: {trouble}" for trouble in catalogue.troubles]
    if looked and not catalogue.troubles:
        if newest is None:
            problems += [] if running else [f"{host} keeps no backup of the database: run site.yml, then backup.yml"]
        # However long one is being made: it may hang.
        elif now - newest.stop > BACKUP_HOURS * 3600:
            problems.append(
                f"the newest backup of the database is {int((now - newest.stop) / 3600)} hours old, expected one a "
                f"day: run backup.yml, and read 'journalctl -u pg-backup@*' on {host}"
            )
        problems += [
            f"the last {kind} backup failed: read 'journalctl -u pg-backup@{kind}' on {host}, then run "
            f"backup.yml -e backup_kind={kind}"
            for kind, unit in units.items()
            if unit["ActiveState"] == "failed"
        ]
    return Backups(
        host,
        reachable,
        "database",
        newest=newest.kind if newest else "running" if running else None,
        stop=newest.stop if newest else None,
        took=newest.stop - newest.start if newest else None,
        size=newest.size if newest else None,
        count=len(catalogue.whole),
        next=seen.get("next_backup", ""),
        problems=tuple(problems),
    )


def _media(host: str, reachable: bool, looked: bool, said: Data, now: float) -> Backups:
    result = said.get("result") or {}
    good, last = result.get("good"), result.get("last")
    running = said.get("state") == "activating"
    problems = []
    again = f"run backup.yml; if it fails again, read 'journalctl -u media-backup' on {host}"
    if looked and last and last["error"]:
        problems.append(f"the last snapshot of the store failed: {last['error']}")
    elif looked:
        if good is None:
            problems += [] if running else [f"{host} keeps no snapshot of the store: {again}"]
        elif now - good["began"] > result["max_age"]:
            age = int((now - good["began"]) / 60)
            problems.append(
                f"the newest snapshot of the store is {age} minutes old, expected {int(result['max_age'] / 60)} at "
                f"most: {again}"
            )
    return Backups(
        host,
        reachable,
        "media",
        newest=f"{good['files']} files" if good else "running" if running else None,
        stop=good["ended"] if good else None,
        took=good["ended"] - good["began"] if good else None,
        size=good["bytes"] if good else None,
        count=result.get("kept"),
        next=said.get("next", ""),
        problems=tuple(problems),
    )


def _verified(host: str, reachable: bool, looked: bool, catalogue: Catalogue, said: Data, now: float) -> Backups:
    result = said.get("result")
    problems = []
    if looked:
        problems = list(_verification_problems(host, catalogue, said, now))
    if result is None:
        newest = "running" if said.get("state") == "activating" else "never"
        return Backups(host, reachable, "verified", newest=newest, next=said.get("next", ""), problems=tuple(problems))
    return Backups(
        host,
        reachable,
        "verified",
        newest="restored" if result["ok"] else "FAILED",
        stop=result["ended"],
        took=result["ended"] - result["began"],
        size=sum(one["bytes"] for one in result["databases"].values()) or None,
        next=said.get("next", ""),
        problems=tuple(problems),
    )


def _verification_problems(host: str, catalogue: Catalogue, said: Data, now: float) -> Iterator[str]:
    """A check that didn't run is as loud as one that failed."""
    result, max_age = said.get("result"), said.get("max_age") or 0
    again = f"run backup.yml -e backup_verify=true, and read 'journalctl -u backup-verify' on {host}"
    # Before the first one, since there was something to verify.
    since = result["began"] if result else catalogue.whole[0].stop if catalogue.whole else None
    if since is not None and now - since > max_age:
        hours = int((now - since) / 3600)
        yield f"no backup was restored to verify it for {hours} hours, expected {int(max_age / 3600)} at most: {again}"
    if result and not result["ok"]:
        found = result["problems"]
        more = f" (and {len(found) - NAMED} more)" if len(found) > NAMED else ""
        yield (
            f"the last restore that was to verify the backups, of {utc(result['ended'])}, failed{more}: "
            f"{'; '.join(found[:NAMED])}. {again[0].upper()}{again[1:]}"
        )
