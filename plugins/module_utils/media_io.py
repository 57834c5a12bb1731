# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks restic, by the command of the role media_backup, and touches the shared store. Commands go through a runner."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import BackupError
from ansible_collections.renfo.redundancy.plugins.module_utils.media_restore import (
    File,
    Files,
    Snapshot,
    parse_files,
    parse_snapshots,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import one_line

COMMAND = "/usr/local/sbin/media-backup"
#: Where files lie until they are whole. In the store itself: from there they get to their place in one step. While it
#: is there no snapshot is taken, for it would be one of half a store.
STAGE = ".restored"
#: Patterns that restic is given at once: it compares each file with each of them.
PATTERNS = 200
#: Room that is left in the store, in bytes.
MARGIN = 64 * 1024 * 1024
CHUNK = 1024 * 1024

Runner = Callable[[Sequence[str]], tuple[int, str, str]]


@dataclasses.dataclass(frozen=True)
class Media:
    """The store that is mounted at *directory*, and its snapshots."""

    directory: Path
    run: Runner

    @property
    def there(self) -> bool:
        """Whether this host was set up."""
        return Path(COMMAND).exists()

    def ask(self, *words: str) -> str:
        """What restic says. BackupError with its own words if it fails."""
        rc, out, err = self.run([COMMAND, "restic", *words])
        if rc != 0:
            raise BackupError(f"restic {words[0]} failed: {one_line(err or out)}")
        return out

    def snapshots(self) -> tuple[Snapshot, ...]:
        """All of them, oldest first."""
        return parse_snapshots(self.ask("snapshots", "--json"))

    def held(self, snapshot: Snapshot) -> dict[str, File]:
        """The files of a snapshot."""
        return parse_files(self.ask("ls", "--json", snapshot.id).splitlines())

    def store(self) -> dict[str, File]:
        """The files that are there. Hidden folders are not the application's."""
        if not os.path.ismount(self.directory):
            raise BackupError(f"the store isn't mounted at {self.directory}. Nothing was changed. Run site.yml")
        found = {}
        for path in _files(self.directory):
            status = path.stat()
            found[str(path.relative_to(self.directory))] = File(status.st_size, status.st_mtime)
        return found

    def differing(self, snapshot: str, paths: Sequence[str], store: Files, held: Files) -> list[str]:
        """Those of *paths* whose bytes aren't those of the snapshot."""
        return [
            path
            for path in paths
            if store[path].size != held[path].size or self.sha256(path) != self._sha256_of(snapshot, path)
        ]

    def sha256(self, path: str) -> str:
        """The checksum of a file in the store."""
        with open(self.directory / path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _sha256_of(self, snapshot: str, path: str) -> str:
        """The same of one in a snapshot, which may be larger than memory."""
        digest = hashlib.sha256()
        with subprocess.Popen([COMMAND, "restic", "dump", snapshot, f"/{path}"], stdout=subprocess.PIPE) as process:
            while process.stdout is not None and (chunk := process.stdout.read(CHUNK)):
                digest.update(chunk)
        if process.returncode != 0:
            raise BackupError(f"restic dump {snapshot[:8]} /{path} failed. Nothing was changed")
        return digest.hexdigest()

    def make_sure_of_room(self, size: int) -> None:
        """BackupError if the store has no room for *size* bytes more."""
        free = shutil.disk_usage(self.directory).free
        if free < size + MARGIN:
            raise BackupError(
                f"the store has {free} bytes free, expected {size + MARGIN}. No file was changed. Give it more room, "
                "then run it again"
            )

    def begin(self) -> None:
        """From now on, until ``end``, no snapshot is taken."""
        (self.directory / STAGE).mkdir(mode=0o700, exist_ok=True)

    def end(self) -> None:
        """All that was wanted is there."""
        shutil.rmtree(self.directory / STAGE)

    def bring(self, snapshot: str, paths: Sequence[str], everything: bool, aside: Mapping[str, Path]) -> None:
        """Put *paths* of the snapshot where they belong, each in one step. One that is there is left alone, or moved to
        the folder that *aside* has for it. *everything*: the snapshot has no other files."""
        stage = self.directory / STAGE / "files"
        # What an interrupted one left is no use: half a file looks like a whole one.
        shutil.rmtree(stage, ignore_errors=True)
        for patterns in [[]] if everything else list(_chunks([_pattern(path) for path in paths])):
            self.ask("restore", snapshot, f"--target={stage}", *(f"--include={pattern}" for pattern in patterns))
        # On disk before they have a name.
        self._sync()
        for path in paths:
            self._place(stage, path, aside.get(path))
        self._sync()

    def _place(self, stage: Path, path: str, aside: Path | None) -> None:
        target = self.directory / path
        self._folders(stage, target.parent)
        if aside is not None and target.exists():
            kept = aside / path
            kept.parent.mkdir(parents=True, exist_ok=True)
            target.rename(kept)
        try:
            # Unlike rename(2) it replaces nothing.
            os.link(stage / path, target)
        except FileExistsError:
            return

    def _folders(self, stage: Path, folder: Path) -> None:
        """Make *folder* as it was: with its owner and mode."""
        if folder.exists():
            return
        self._folders(stage, folder.parent)
        model = stage / folder.relative_to(self.directory)
        folder.mkdir()
        status = model.stat()
        os.chown(folder, status.st_uid, status.st_gid)
        shutil.copymode(model, folder)

    def _sync(self) -> None:
        self.run(["sync", "-f", str(self.directory)])


def _files(directory: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(directory):
        if Path(folder) == directory:
            folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for name in names if (path := Path(folder, name)).is_file() and not path.is_symlink())


def _pattern(path: str) -> str:
    """*path* as restic wants it, in which some letters stand for others (https://pkg.go.dev/path/filepath#Match)."""
    return "/" + "".join(f"\\{letter}" if letter in "*?[\\" else letter for letter in path)


def _chunks(patterns: Sequence[str]) -> Iterator[Sequence[str]]:
    yield from (patterns[start : start + PATTERNS] for start in range(0, len(patterns), PATTERNS))
