# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With a real restic where there is one (make test installs it), on a directory that counts as mounted."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils import media_io
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import BackupError
from ansible_collections.renfo.redundancy.plugins.module_utils.media_io import Media


class Store:
    """A store with a repository of snapshots."""

    def __init__(self, path: Path) -> None:
        self.directory = path / "store"
        self.directory.mkdir()
        self.environment = {**os.environ, "RESTIC_REPOSITORY": str(path / "repository"), "RESTIC_PASSWORD": "secret"}
        self.environment["RESTIC_CACHE_DIR"] = str(path / "cache")
        self.media = Media(self.directory, self.run)
        self.run([media_io.COMMAND, "restic", "init"])

    def run(self, argv: Sequence[str]) -> tuple[int, str, str]:
        words = ["restic", *argv[2:]] if argv[0] == media_io.COMMAND else list(argv)
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def write(self, path: str, text: str) -> None:
        file = self.directory / path
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(text)

    def snapshot(self) -> str:
        subprocess.run(
            ["restic", "backup", "-q", "."], cwd=self.directory, env=self.environment, check=True, capture_output=True
        )
        return self.media.snapshots()[-1].id


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    return Store(tmp_path)


def test_files_come_back_with_their_owner_and_mode(store: Store) -> None:
    store.write("videos/one", "1")
    store.write("videos/t[w]o*", "2")
    store.write("other/three", "3")
    os.chmod(store.directory / "videos", 0o2770)
    os.chown(store.directory / "videos/one", 12345, 12345)
    snapshot = store.snapshot()
    assert set(store.media.held(store.media.snapshots()[0])) == {"videos/one", "videos/t[w]o*", "other/three"}
    for path in ("videos/one", "videos/t[w]o*", "other/three"):
        (store.directory / path).unlink()
    (store.directory / "videos").rmdir()
    store.media.begin()
    store.media.bring(snapshot, ["videos/one", "videos/t[w]o*"], everything=False, aside={})
    assert (store.directory / "videos/one").read_text() == "1"
    assert (store.directory / "videos/t[w]o*").read_text() == "2"
    assert (store.directory / "videos/one").stat().st_uid == 12345
    assert (store.directory / "videos").stat().st_mode & 0o7777 == 0o2770
    assert sorted(store.media.store()) == ["videos/one", "videos/t[w]o*"]
    # Until all is there no snapshot is taken.
    assert (store.directory / media_io.STAGE).exists()
    store.media.end()
    assert not (store.directory / media_io.STAGE).exists()


def test_everything_of_a_snapshot(store: Store) -> None:
    store.write("a/b/c", "deep")
    snapshot = store.snapshot()
    subprocess.run(["rm", "-r", store.directory / "a"], check=True)
    store.media.bring(snapshot, ["a/b/c"], everything=True, aside={})
    assert (store.directory / "a/b/c").read_text() == "deep"


def test_a_file_that_is_there_is_never_overwritten(store: Store) -> None:
    store.write("video", "old")
    snapshot = store.snapshot()
    store.write("video", "new")
    store.media.bring(snapshot, ["video"], everything=True, aside={})
    assert (store.directory / "video").read_text() == "new"
    store.media.bring(snapshot, ["video"], everything=True, aside={"video": store.directory / ".before-x"})
    assert (store.directory / "video").read_text() == "old"
    assert (store.directory / ".before-x/video").read_text() == "new"
    # Hidden folders are not the application's.
    assert sorted(store.media.store()) == ["video"]


def test_what_differs_is_found_by_its_bytes(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = tmp_path / "media-backup"
    command.write_text('#!/bin/sh\nshift\nexec restic "$@"\n')
    command.chmod(0o755)
    monkeypatch.setattr(media_io, "COMMAND", str(command))
    for name in ("RESTIC_REPOSITORY", "RESTIC_PASSWORD", "RESTIC_CACHE_DIR"):
        monkeypatch.setenv(name, store.environment[name])
    for name in ("same", "bytes", "size"):
        store.write(name, "12345")
    snapshot = store.snapshot()
    held = store.media.held(store.media.snapshots()[0])
    store.write("same", "12345")
    store.write("bytes", "54321")
    store.write("size", "123456")
    assert store.media.differing(snapshot, ["same", "bytes", "size"], store.media.store(), held) == ["bytes", "size"]
    assert store.media.sha256("same") == hashlib.sha256(b"12345").hexdigest()
    with pytest.raises(BackupError, match="restic dump"):
        store.media.differing("0" * 64, ["same"], store.media.store(), held)


def test_a_store_that_is_not_mounted_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="isn't mounted"):
        Media(tmp_path, lambda argv: (0, "", "")).store()


def test_a_store_without_room(store: Store) -> None:
    with pytest.raises(BackupError, match="bytes free, expected"):
        store.media.make_sure_of_room(10**18)


def test_the_words_of_restic_are_passed_on(tmp_path: Path) -> None:
    media = Media(tmp_path, lambda argv: (1, "", "Fatal: wrong password or no key found"))
    with pytest.raises(BackupError, match="restic snapshots failed: Fatal: wrong password"):
        media.snapshots()
