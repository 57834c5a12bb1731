# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""media-backup: one snapshot of the shared store, into every repository. Written by the role media_backup.

media-backup restic WORDS... asks restic about the repository instead; media-backup second WORDS... about the second.
media-backup anyway takes a snapshot of a store that has lost most of its files, which is refused otherwise.

What came of it stands in /var/lib/media-backup/result.json: ``last``, the last run, with its ``error`` or null;
``good``, the last snapshot, with its ``snapshot`` (null of an empty store), ``began`` and ``ended`` in seconds since
the epoch, ``files`` and ``bytes``; ``kept``, how many there are; ``pruned``, when old ones were last removed; and
``max_age``, the seconds that a snapshot may be old.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG = Path("/etc/media-backup")
STATE = Path("/var/lib/media-backup")
DAY = 86400
POLL = 5
#: Where a restore lays files before they are whole, at the top of the store; and where those lie that gave way.
STAGE = ".restored"
ASIDE = ".before-*"
#: From how many files on half of them have to be there.
FEW = 4
#: restic's exit code for a snapshot without what could not be read.
INCOMPLETE = 3

Run = Callable[[Sequence[str], Mapping[str, str], str], tuple[int, str, str]]


class Failure(Exception):
    """What was found and what was expected."""


@dataclass(frozen=True)
class Store:
    """What is backed up, and where to. Fields as the role's variables have them."""

    directory: str
    repository: str
    exclude: Sequence[str]
    keep: Mapping[str, int]
    patience: float
    max_age: int
    second: str

    @classmethod
    def read(cls, config: Path) -> Store:
        """As the role wrote it."""
        return cls(**json.loads((config / "config.json").read_text()))

    def environment(self, config: Path, second: bool = False) -> dict[str, str]:
        """What restic needs to know to find and read a repository; a copy comes from the first."""
        passphrase = str(config / "passphrase")
        known = {"RESTIC_PASSWORD_FILE": passphrase, "RESTIC_CACHE_DIR": "/var/cache/media-backup"}
        if not second:
            return {"RESTIC_REPOSITORY": self.repository, **known}
        source = {"RESTIC_FROM_REPOSITORY": self.repository, "RESTIC_FROM_PASSWORD_FILE": passphrase}
        return {"RESTIC_REPOSITORY": self.second, **known, **source, **json.loads((config / "second.json").read_text())}


@dataclass(frozen=True)
class Job:
    """One run. *run* takes a command, its environment and its working directory."""

    store: Store
    run: Run
    config: Path = CONFIG
    mounted: Callable[[str], bool] = os.path.ismount

    def restic(self, *words: str, second: bool = False, directory: str = "/") -> tuple[int, str, str]:
        """Ask restic."""
        return self.run(["restic", *words], self.store.environment(self.config, second), directory)

    def must(self, *words: str, second: bool = False, directory: str = "/") -> str:
        """What restic says. Failure, with its own words, if it fails; also where a file could not be read."""
        rc, out, err = self.restic(*words, second=second, directory=directory)
        if rc != 0:
            raise failed(words[0], rc, out, err)
        return out

    def wait_for_store(self) -> None:
        """Failure if the store isn't mounted, or doesn't answer, for as long as it is waited for."""
        deadline = time.monotonic() + self.store.patience
        while True:
            try:
                if self.mounted(self.store.directory):
                    os.listdir(self.store.directory)
                    return
                found = "is not mounted"
            except OSError as error:
                found = f"doesn't answer ({error.strerror})"
            if time.monotonic() > deadline:
                raise Failure(f"the store at {self.store.directory} {found}, expected it mounted: see status.yml")
            time.sleep(POLL)

    def has_at_least(self, files: int) -> bool:
        """Whether the store holds so many files, but for what is hidden at its top."""
        found = 0
        for folder, folders, names in os.walk(self.store.directory):
            if folder == self.store.directory:
                folders[:] = [name for name in folders if not name.startswith(".") and name not in self.store.exclude]
            found += len(names)
            if found >= files:
                return True
        return False

    def lost_most(self, files: int) -> bool:
        """Whether the store holds next to nothing of the *files* that it had: what is left is not to be what a restore
        takes."""
        return files > 0 and not self.has_at_least((files + 1) // 2 if files >= FEW else 1)

    def known_files(self, good: Mapping[str, Any] | None) -> int:
        """How many files the last snapshot has; also on a host to which only the repository was brought."""
        if good is not None:
            return int(good["files"])
        if not self.has_repository():
            return 0
        rc, out, _err = self.restic("ls", "--json", "latest")
        return sum('"type":"file"' in line for line in out.splitlines()) if rc == 0 else 0

    def has_repository(self) -> bool:
        """Whether there is one. One that can't be read is no reason to make another."""
        return Path(self.store.repository, "config").exists()

    def snapshot(self, good: Mapping[str, Any] | None, shrunk: bool) -> dict[str, Any]:
        """Take one; its figures. *good* are those of the last. *shrunk*: the store may have lost most of its files."""
        self.wait_for_store()
        if not self.has_repository():
            if good is not None and good["snapshot"]:
                raise Failure(
                    f"{self.store.repository} holds no repository, expected the one of the snapshots before. Is its "
                    "file system mounted? If it is gone for good, remove /var/lib/media-backup/result.json"
                )
            self.must("init")
        # Left by one that was killed. Those of a process that runs stay.
        self.must("unlock")
        if Path(self.store.directory, STAGE).exists():
            raise Failure(
                f"a restore of the store goes on, or was interrupted ({STAGE} is there), so no snapshot was taken: run "
                "restore.yml -e restore_what=media again"
            )
        files = 0 if shrunk else self.known_files(good)
        if self.lost_most(files):
            raise Failure(
                f"the store has lost most of the {files} files that the last snapshot has, so none was taken: "
                "restore.yml -e restore_what=media -e restore_to=latest brings them back. If they are to be gone, run "
                "'media-backup anyway'"
            )
        if not self.has_at_least(1):
            # restic takes none of nothing.
            return {"snapshot": None, "began": time.time(), "ended": time.time(), "files": 0, "bytes": 0, "added": 0}
        exclude = [f"--exclude={pattern}" for pattern in (*self.store.exclude, STAGE, ASIDE)]
        deadline = time.monotonic() + self.store.patience
        while True:
            began = time.time()
            # From within, so that a snapshot's own paths begin below the store, wherever that is mounted.
            rc, out, err = self.restic(
                "backup", "--json", "--host=media", *exclude, ".", directory=self.store.directory
            )
            if rc == 0:
                break
            if rc == INCOMPLETE:
                # It lacks what could not be read, and must not be what a restore takes.
                self.must("forget", parse_summary(out)["snapshot_id"])
            # A host of the store that is lost stalls it for seconds, and what is read then may fail.
            if time.monotonic() > deadline:
                raise failed("backup", rc, out, err)
            time.sleep(POLL)
            self.wait_for_store()
        summary = parse_summary(out)
        return {
            "snapshot": summary["snapshot_id"],
            "began": began,
            "ended": time.time(),
            "files": summary["total_files_processed"],
            "bytes": summary["total_bytes_processed"],
            "added": summary["data_added"],
        }

    def copy(self) -> None:
        """Bring the second repository up to date, and make it if it isn't there."""
        if self.restic("cat", "config", second=True)[0] != 0:
            self.must("init", "--copy-chunker-params", second=True)
        self.must("copy", second=True)

    def forget(self, prune: bool) -> None:
        """Drop the snapshots that need not be kept; with *prune* what only they held."""
        keep = [f"--keep-{period}={count}" for period, count in self.store.keep.items()]
        for second in (False, True) if self.store.second else (False,):
            self.must("forget", "--group-by=host", *keep, *(["--prune"] if prune else []), second=second)

    def whole(self, before: Mapping[str, Any], tell: Callable[[Mapping[str, Any]], None], shrunk: bool = False) -> bool:
        """Snapshot, copy, forget; whether all of it went well. *tell* gets the result whenever it has grown. *shrunk*:
        the store may have lost most of its files."""
        result: dict[str, Any] = {"good": None, "pruned": 0, **before, "max_age": self.store.max_age}
        result["last"] = {"began": time.time(), "ended": None, "error": None}
        try:
            result["good"] = self.snapshot(result["good"], shrunk)
            tell(result)
            if self.store.second:
                self.copy()
            due = time.time() - result["pruned"] > DAY
            self.forget(due)
            if due:
                result["pruned"] = time.time()
            result["kept"] = len(json.loads(self.must("snapshots", "--json")))
        except (Failure, OSError) as error:
            result["last"]["error"] = str(error)
        result["last"]["ended"] = time.time()
        tell(result)
        return result["last"]["error"] is None


def failed(command: str, rc: int, out: str, err: str) -> Failure:
    """restic's own words."""
    return Failure(f"restic {command} failed ({rc}): {' '.join((err or out).split())[:500]}")


def parse_summary(out: str) -> dict[str, Any]:
    """The last words of ``restic backup --json``. Failure if they aren't there."""
    for line in reversed(out.splitlines()):
        said = json.loads(line)
        if said.get("message_type") == "summary":
            return dict(said)
    raise Failure(f"restic backup gave no summary: {out[-200:]!r}")


def call(argv: Sequence[str], environment: Mapping[str, str], directory: str) -> tuple[int, str, str]:
    """Run a command to its end."""
    done = subprocess.run(
        argv, env={**os.environ, **environment}, cwd=directory, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def write(result: Mapping[str, Any], path: Path = STATE / "result.json") -> None:
    """Replace the result in one step."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(result, indent=2) + "\n")
    new.replace(path)


def main(argv: Sequence[str]) -> int:
    """Exit code."""
    store = Store.read(CONFIG)
    if argv and argv[0] in ("restic", "second"):
        environment = store.environment(CONFIG, second=argv[0] == "second")
        os.execvpe("restic", ["restic", *argv[1:]], {**os.environ, **environment})
    known = STATE / "result.json"
    before = json.loads(known.read_text()) if known.exists() else {}
    if Job(store, call).whole(before, write, shrunk=list(argv) == ["anyway"]):
        return 0
    print(json.loads(known.read_text())["last"]["error"], file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
