# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that takes snapshots, with a real restic and a folder that counts as mounted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import media_backup
import pytest
from media_backup import Failure, Job, Store


class Site:
    """A store, a repository and what was told."""

    def __init__(self, path: Path, second: str = "") -> None:
        self.store, self.repository, self.config = path / "store", path / "repository", path / "config"
        for folder in (self.store, self.config):
            folder.mkdir()
        (self.config / "passphrase").write_text("secret\n")
        (self.config / "second.json").write_text("{}\n")
        settings = {
            "directory": str(self.store),
            "repository": str(self.repository),
            "exclude": [".incoming"],
            "keep": {"last": 2},
            "patience": 0,
            "max_age": 3600,
            "second": second,
        }
        (self.config / "config.json").write_text(json.dumps(settings))
        self.cache = path / "cache"
        self.mounted = True
        self.asked: list[Sequence[str]] = []
        self.result: dict[str, Any] = {}

    def call(self, argv: Sequence[str], environment: Mapping[str, str], directory: str) -> tuple[int, str, str]:
        self.asked.append(argv)
        return media_backup.call(argv, {**environment, "RESTIC_CACHE_DIR": str(self.cache)}, directory)

    def job(self) -> Job:
        return Job(Store.read(self.config), self.call, self.config, lambda _path: self.mounted)

    def run(self, shrunk: bool = False) -> bool:
        return self.job().whole(self.result, self.result.update, shrunk)

    def restic(self, *words: str, second: bool = False) -> str:
        return self.job().must(*words, second=second)

    def files(self, snapshot: str) -> set[str]:
        return {line for line in self.restic("ls", "-q", snapshot).splitlines() if line.startswith("/")}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_snapshot_has_what_is_in_the_store(site: Site) -> None:
    for path in ("videos/one", ".incoming/half", ".before-20261127T140000Z/old"):
        (site.store / path).parent.mkdir()
        (site.store / path).write_text(path)
    assert site.run()
    assert site.files(site.result["good"]["snapshot"]) == {"/videos", "/videos/one"}
    assert (site.result["good"]["files"], site.result["kept"], site.result["max_age"]) == (1, 1, 3600)
    assert site.result["last"]["error"] is None


def test_old_ones_go_and_are_removed_once_a_day(site: Site) -> None:
    (site.store / "video").write_text("x")
    for _ in range(3):
        assert site.run()
    assert site.result["kept"] == 2
    assert sum("--prune" in argv for argv in site.asked) == 1


def test_the_passphrase_is_on_no_command_line(site: Site) -> None:
    site.run()
    assert not [argv for argv in site.asked if "secret" in " ".join(argv)]


def test_a_second_place_gets_each(tmp_path: Path) -> None:
    site = Site(tmp_path, second=str(tmp_path / "second"))
    (site.store / "video").write_text("x")
    assert site.run()
    assert site.run()
    assert len(json.loads(site.restic("snapshots", "--json", second=True))) == 2
    site.restic("check", "--read-data", second=True)


def test_a_store_that_is_not_mounted_is_no_empty_one(site: Site) -> None:
    site.mounted = False
    assert not site.run()
    assert "is not mounted" in site.result["last"]["error"]
    assert site.result["good"] is None
    assert site.asked == []


def test_a_store_that_was_lost_takes_no_place_of_the_last_snapshot(site: Site) -> None:
    (site.store / "video").write_text("x")
    assert site.run()
    good = site.result["good"]
    (site.store / "video").unlink()
    (site.store / ".incoming").mkdir()
    (site.store / ".incoming/half").write_text("x")
    assert not site.run()
    assert "lost most of the 1 files" in site.result["last"]["error"]
    assert site.result["good"] == good
    assert site.run(shrunk=True)
    assert site.run()
    assert site.result["good"]["files"] == 0


def test_a_store_that_lost_most_of_its_files(site: Site) -> None:
    """Somebody used the site before its media were back."""
    for number in range(5):
        (site.store / f"{number}").write_text("x")
    assert site.run()
    for number in range(3):
        (site.store / f"{number}").unlink()
    assert not site.run()
    # On another host, to which only the repository was brought.
    site.result = {}
    assert not site.run()
    assert "lost most of the 5 files" in site.result["last"]["error"]
    (site.store / "new").write_text("x")
    assert site.run()


def test_a_restore_that_was_interrupted_leaves_half_a_store(site: Site) -> None:
    (site.store / "video").write_text("x")
    (site.store / ".restored").mkdir()
    assert not site.run()
    assert "run restore.yml -e restore_what=media again" in site.result["last"]["error"]


def test_a_repository_that_is_not_there_any_more_is_not_made_again(site: Site) -> None:
    (site.store / "video").write_text("x")
    assert site.run()
    site.repository.rename(site.repository.with_name("elsewhere"))
    assert not site.run()
    assert "Is its file system mounted?" in site.result["last"]["error"]
    assert not site.repository.exists()


def test_a_snapshot_that_lacks_something_is_none(site: Site) -> None:
    (site.store / "video").write_text("x")
    summary = '{"message_type":"summary","snapshot_id":"abc"}'
    job = site.job()
    assert job.whole({}, site.result.update)
    asked: list[Sequence[str]] = []

    def run(argv: Sequence[str], environment: Mapping[str, str], directory: str) -> tuple[int, str, str]:
        asked.append(argv)
        return (3, summary, "video: input/output error") if argv[1] == "backup" else (0, "[]", "")

    assert not Job(job.store, run, site.config, lambda _path: True).whole(site.result, site.result.update)
    assert "input/output error" in site.result["last"]["error"]
    assert ["restic", "forget", "abc"] in asked


def test_what_fails_is_told(site: Site) -> None:
    assert site.run()
    (site.config / "passphrase").write_text("other\n")
    assert not site.run()
    assert "wrong password" in site.result["last"]["error"]
    # One that can't be read is no reason to make another.
    assert sum("init" in argv for argv in site.asked) == 1


def test_a_file_that_can_not_be_read_fails_it(site: Site) -> None:
    with pytest.raises(Failure, match=r"restic backup failed \(3\): gone"):
        Job(Store.read(site.config), lambda *_: (3, "", "gone\n"), site.config).must("backup")


def test_the_summary_is_the_last_but_one_line(site: Site) -> None:
    said = '{"message_type":"status"}\n{"message_type":"summary","snapshot_id":"a"}\n{"message_type":"exit"}\n'
    assert media_backup.parse_summary(said)["snapshot_id"] == "a"
    with pytest.raises(Failure, match="no summary"):
        media_backup.parse_summary("")


def test_the_result_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    media_backup.write({"last": 1}, path)
    assert json.loads(path.read_text()) == {"last": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_restic_is_asked_with_everything_that_it_needs(site: Site) -> None:
    store = Store.read(site.config)
    assert store.environment(site.config)["RESTIC_PASSWORD_FILE"] == str(site.config / "passphrase")
    second = store.environment(site.config, second=True)
    assert second["RESTIC_FROM_REPOSITORY"] == str(site.repository)
