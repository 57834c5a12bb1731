# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files a restore of the shared store brings back, and whether store and database agree. Pure.

Nothing that is in the store is ever removed: a file that gives way to an older one is kept aside. Times are seconds
since the epoch, sizes bytes, paths relative to the store.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import BackupError, utc

#: Files that are named one by one; there may be as many as there are users.
NAMED = 20


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One snapshot. *time* is when it was begun: what was there then is in it."""

    id: str
    time: float


@dataclasses.dataclass(frozen=True)
class File:
    """A file, in a snapshot or in the store."""

    size: int
    mtime: float


@dataclasses.dataclass(frozen=True)
class Row:
    """A file that the database names. *sha256* is empty where the database doesn't know it."""

    id: str
    path: str
    sha256: str = ""


Files = Mapping[str, File]


def parse_snapshots(text: str) -> tuple[Snapshot, ...]:
    """The snapshots from ``restic snapshots --json``, oldest first."""
    found = (Snapshot(one["id"], _moment(one["time"])) for one in json.loads(text) or ())
    return tuple(sorted(found, key=lambda snapshot: snapshot.time))


def parse_files(lines: Iterable[str]) -> dict[str, File]:
    """The files from ``restic ls --json``, by path. What is hidden at the top isn't the application's."""
    nodes = (json.loads(line) for line in lines if line.strip())
    return {
        node["path"].lstrip("/"): File(int(node.get("size", 0)), _moment(node["mtime"]))
        for node in nodes
        if node.get("type") == "file" and not node["path"].startswith("/.")
    }


def parse_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    """The rows of the query that the user gave. BackupError for columns that aren't as expected."""
    found = []
    for row in rows:
        if not row.get("path"):
            raise BackupError(
                f"site_media_query gave a row with {', '.join(row) or 'nothing'}, expected the columns id, path (below "
                "the store) and sha256 (or null). The files were not compared"
            )
        found.append(Row(str(row.get("id", row["path"])), str(row["path"]).lstrip("/"), str(row.get("sha256") or "")))
    return tuple(found)


def _moment(text: str) -> float:
    # Nanoseconds, which Python cuts off.
    return datetime.datetime.fromisoformat(text).timestamp()


@dataclasses.dataclass(frozen=True)
class Choice:
    """The snapshots that a restore takes files from: the last one before the wanted moment, and the first one after it,
    which has what was uploaded between the two. Either may be None."""

    before: Snapshot | None
    after: Snapshot | None


def choose(snapshots: Sequence[Snapshot], moment: float | None) -> Choice:
    """The snapshots for *moment*, None for the newest. BackupError if there is none at all."""
    if not snapshots:
        raise BackupError("there is no snapshot of the store. Nothing was changed. Take one: backup.yml")
    if moment is None:
        return Choice(snapshots[-1], None)
    before = [one for one in snapshots if one.time <= moment]
    after = [one for one in snapshots if one.time > moment]
    return Choice(before[-1] if before else None, after[0] if after else None)


@dataclasses.dataclass(frozen=True)
class MediaPlan:
    """What is brought back: the paths that each snapshot gives. Those in *doubtful* are in the store with another time
    or size; what they hold is to be compared, and one that differs gives way, kept aside."""

    bring: Mapping[str, tuple[str, ...]]
    doubtful: Mapping[str, tuple[str, ...]]
    size: int

    @property
    def count(self) -> int:
        """Files that are missing."""
        return sum(len(paths) for paths in self.bring.values())


def media_plan(choice: Choice, held: Mapping[str, Files], store: Files, moment: float | None) -> MediaPlan:
    """What to bring back to a *store*. *held* are the files of the chosen snapshots, by their id.

    A moment brings the store back to it as far as that can be done without removing anything. Without one, only what is
    missing comes back: a file that is there is newer than any snapshot.
    """
    bring: dict[str, tuple[str, ...]] = {}
    doubtful: dict[str, tuple[str, ...]] = {}
    size, known = 0, set(store)
    if choice.before is not None:
        files = held[choice.before.id]
        bring[choice.before.id] = tuple(path for path in files if path not in known)
        size += sum(files[path].size for path in bring[choice.before.id])
        if moment is not None:
            doubtful[choice.before.id] = tuple(
                path for path in files if path in store and _differs(files[path], store[path])
            )
        known |= set(files)
    if choice.after is not None:
        files = held[choice.after.id]
        # Younger ones are of a time that the database won't know of.
        wanted = tuple(path for path, file in files.items() if path not in known and file.mtime <= (moment or 0))
        bring[choice.after.id] = wanted
        size += sum(files[path].size for path in wanted)
    return MediaPlan(bring, doubtful, size)


def _differs(one: File, other: File) -> bool:
    # A file system may know no better than microseconds, and a restored file has its old time.
    return one.size != other.size or abs(one.mtime - other.mtime) > 0.001


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Where store and database disagree: *rows* without a file, *files* without a row, and *wrong* rows, whose file has
    other bytes than the database says. *checked* files were read for that."""

    rows: tuple[Row, ...]
    files: tuple[str, ...]
    wrong: tuple[Row, ...]
    checked: int = 0


def compare(rows: Sequence[Row], store: Iterable[str], sums: Mapping[str, str]) -> Comparison:
    """*store* are the paths that are there, *sums* the checksums of those that were read."""
    there = set(store)
    named = {row.path for row in rows}
    return Comparison(
        rows=tuple(row for row in rows if row.path not in there),
        files=tuple(sorted(there - named)),
        wrong=tuple(row for row in rows if row.sha256 and sums.get(row.path, row.sha256) != row.sha256),
        checked=len(sums),
    )


def comparison_lines(said: Mapping[str, Any]) -> Iterator[str]:
    """What the module ``media_compare`` returned, for people."""
    read = f"{said['checked']} were read and compared"
    yield f"The database names {said['rows']} files, the store holds {said['files']}; {read}."
    for what, items in (
        ("Without a file (id, checksum)", said["missing"]),
        ("With other bytes than the database says (id, checksum)", said["wrong"]),
        ("Without a row (path, checksum)", said["unknown"]),
    ):
        if items:
            yield f"{what}: {len(items)}"
            yield from (f"  {one['id']}  {one['sha256'] or '(unknown)'}" for one in items[:NAMED])
            if len(items) > NAMED:
                yield f"  and {len(items) - NAMED} more: {said['report'] or 'run it with -v'}"
    if not (said["missing"] or said["wrong"] or said["unknown"]):
        yield "Store and database agree."


def media_lines(said: Mapping[str, Any], check: bool = False) -> Iterator[str]:
    """What the module ``media_restore`` returned, for people."""
    times = ", ".join(utc(moment) for moment in said["snapshots"].values())
    verb = "would be brought" if check else "were brought"
    yield f"Media: {said['brought']} files ({said['bytes'] / 1e6:.0f} MB) {verb} back from the snapshot of {times}."
    if said["replaced"]:
        where = "" if check else f"; what they held lies in {said['aside']}"
        yield f"{said['replaced']} files held something else than then{where}."
