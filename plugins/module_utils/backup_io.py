# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of pgBackRest, restic and systemd on the host that keeps the backups. Commands go through a runner."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils import media_io
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import (
    BackupError,
    Catalogue,
    find_rivals,
    parse_info,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import as_postgres, one_line
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_text import parse_history

STANZA = "main"
CONFIG = Path("/etc/pgbackrest/pgbackrest.conf")
KINDS = ("full", "diff", "incr")
#: What the roles media_backup and backup_verify leave on the host.
MEDIA_RESULT = Path("/var/lib/media-backup/result.json")
VERIFY_CONFIG = Path("/etc/backup-verify/config.json")

Runner = Callable[[Sequence[str]], tuple[int, str, str]]


@dataclasses.dataclass(frozen=True)
class Repository:
    """The repository of this host."""

    run: Runner

    @property
    def there(self) -> bool:
        """Whether this host was set up."""
        return CONFIG.exists()

    def ask(self, command: str, *words: str) -> str:
        """What pgBackRest says. BackupError with its own words if it fails."""
        rc, out, err = self.run(as_postgres("pgbackrest", f"--stanza={STANZA}", command, *words))
        if rc != 0:
            raise BackupError(f"pgbackrest {command} failed: {one_line(err or out)}")
        return out

    def catalogue(self) -> Catalogue:
        """What is there."""
        return parse_info(self.ask("info", "--output=json"), STANZA)

    def with_way(self, catalogue: Catalogue, timeline: int | None = None) -> Catalogue:
        """The same with the way of a restore, which leads to *timeline*, by default to the newest one."""
        newest = (catalogue.usable.whole or (None,))[-1]
        # By number: the first one may be empty, or not answer.
        repository = (f"--repo={newest.repository}",) if newest else ()
        folder = self._archive_folder(catalogue.history, repository) if catalogue.archives else ""
        if not folder:
            return catalogue
        # A folder for each four gigabytes of a timeline's WAL, and how each timeline came about.
        every = "--filter=^[0-9A-F]{8}([0-9A-F]{8}|\\.history)$"
        names = self.ask("repo-ls", *repository, folder, every).split()
        timelines = {int(name[:8], 16) for name in names}
        wanted = timeline or max(timelines, default=1)
        if wanted not in timelines:
            there = ", ".join(map(str, sorted(timelines)))
            raise BackupError(f"the archive has no timeline {wanted}, it has {there}. Nothing was changed")
        history = f"{wanted:08X}.history"
        text = self.ask("repo-get", *repository, f"{folder}/{history}") if history in names else ""
        ancestry = tuple(parse_history(text))
        way = [*(switch.timeline for switch in ancestry), wanted]
        rivals: tuple[int, ...] = ()
        if not timeline and newest and newest.timeline != wanted:
            spans = self._spans(folder, [name for name in names if not name.endswith("history")], repository)
            rivals = find_rivals(spans, way, newest.timeline)
        return dataclasses.replace(catalogue, timeline=wanted, ancestry=ancestry, assumed=not timeline, rivals=rivals)

    def _archive_folder(self, history: int, repository: Sequence[str]) -> str:
        # Named after the version and the history, as in 17-1.
        names = self.ask("repo-ls", *repository, f"archive/{STANZA}", f"--filter=^[0-9.]+-{history}$").split()
        return f"archive/{STANZA}/{names[0]}" if names else ""

    def _spans(self, folder: str, names: Sequence[str], repository: Sequence[str]) -> dict[int, tuple[str, str]]:
        """First and last file of WAL of each timeline, by the *names* of their folders."""
        spans = {}
        for timeline in {name[:8] for name in names}:
            folders = sorted(name for name in names if name.startswith(timeline))
            # As 000000030000000000000005-SUM.zst; a file that a promotion cut short is none.
            files = [
                file[8:24]
                for name in dict.fromkeys((folders[0], folders[-1]))
                for file in self.ask("repo-ls", *repository, f"{folder}/{name}", "--filter=^[0-9A-F]{24}-").split()
            ]
            if files:
                spans[int(timeline, 16)] = (min(files), max(files))
        return spans

    def backup_running(self) -> bool:
        """Whether a backup is being made."""
        return any(unit["ActiveState"] == "activating" for unit in self.units().values())

    def units(self) -> dict[str, dict[str, str]]:
        """For each kind of backup, how the unit that makes it is, in systemd's words."""
        properties = "ActiveState,Result,ExecMainStatus,ExecMainExitTimestamp"
        names = [f"pg-backup@{kind}.service" for kind in KINDS]
        _rc, out, _err = self.run(["systemctl", "show", *names, f"--property={properties}"])
        # One paragraph for each unit, in the order in which they were asked for.
        shown = [dict(line.split("=", 1) for line in part.splitlines() if "=" in line) for part in out.split("\n\n")]
        shown += [{}] * len(KINDS)
        return {
            kind: {name: found.get(name, "") for name in properties.split(",")}
            for kind, found in zip(KINDS, shown, strict=False)
        }

    def next_of(self, *timers: str) -> str:
        """When the first of *timers* is due, in systemd's words; empty without one."""
        _rc, out, _err = self.run(["systemctl", "list-timers", "--no-legend", "--no-pager", *timers])
        # The soonest stands first; the date is followed by how long it is until then.
        found = re.match(r"\w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (\w+)", out)
        return " ".join(found.groups()) if found else ""

    def media(self, snapshots: bool) -> dict[str, Any]:
        """How the snapshots of the store are; with *snapshots* also their times, for which restic must be asked."""
        said = self._of_job("media-backup", MEDIA_RESULT)
        media = media_io.Media(Path("/"), self.run)
        if snapshots and media.there:
            try:
                found = media.snapshots()
            except BackupError as error:
                raise BackupError(f"{error}. The database alone can be restored: -e restore_what=database") from error
            said["times"] = [one.time for one in found]
        return said

    def verified(self) -> dict[str, Any]:
        """How the last verified restore went, and the seconds that it may be old."""
        config = _json(VERIFY_CONFIG) or {}
        result = Path(config.get("directory", "/var/lib/backup-verify"), "result.json")
        return {**self._of_job("backup-verify", result), "max_age": config.get("result_max_age")}

    def _of_job(self, unit: str, result: Path) -> dict[str, Any]:
        _rc, out, _err = self.run(["systemctl", "show", f"{unit}.service", "--property=ActiveState", "--value"])
        return {"result": _json(result), "state": out.strip(), "next": self.next_of(f"{unit}.timer")}

    def start(self, kind: str) -> None:
        """Begin a backup, and don't wait for it."""
        rc, out, err = self.run(["systemctl", "start", "--no-block", f"pg-backup@{kind}.service"])
        if rc != 0:
            raise BackupError(f"the backup could not be started: {one_line(err or out)}")

    def observe(
        self, for_restore: bool = False, snapshots: bool = False, timeline: int | None = None
    ) -> dict[str, Any]:
        """Everything that a playbook wants to know, as plain data."""
        catalogue = self.catalogue()
        return {
            "catalogue": (self.with_way(catalogue, timeline) if for_restore else catalogue).to_dict(),
            "units": self.units(),
            "next_backup": self.next_of("pg-backup-full.timer", "pg-backup-diff.timer"),
            "media": self.media(snapshots),
            "verified": self.verified(),
        }


def _json(path: Path) -> dict[str, Any] | None:
    """What a job wrote there; None if it didn't run yet. It is replaced in one step, so it is whole."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found
