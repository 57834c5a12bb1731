# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils import backup_io, media_io
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import BackupError, Catalogue
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_io import Repository

HISTORY = "1\t0/5000000\tno recovery target specified\n\n2\t0/6000100\tbefore 2026-11-23\n"


class Host:
    """A host with a repository: answers by the words that a command ends with."""

    def __init__(self, timelines: Sequence[int] = ()) -> None:
        self.asked: list[str] = []
        archive = {"database": {"id": 1, "repo-key": 1}, "id": "17-1", "min": "0" * 24, "max": "0" * 24}
        names = ["0000000100000000", *(f"{number:08X}.history" for number in timelines), "0000000500000000"]
        info = [
            {
                "name": "main",
                "db": [{"id": 1, "system-id": 7, "version": "17"}],
                "archive": [archive],
                "backup": [],
                "repo": [],
            }
        ]
        self.answers = {
            "info --output=json": json.dumps(info),
            "repo-ls archive/main --filter=^[0-9.]+-1$": "17-1\n",
            "repo-ls archive/main/17-1 --filter=^[0-9A-F]{8}([0-9A-F]{8}|\\.history)$": "\n".join(names),
            "repo-get archive/main/17-1/00000003.history": HISTORY,
        }

    def __call__(self, argv: Sequence[str]) -> tuple[int, str, str]:
        words = " ".join(argv)
        self.asked.append(words)
        for end, answer in self.answers.items():
            if words.replace(" --repo=2", "").endswith(end):
                return 0, answer, ""
        return 28, "", "2026-11-23 P00  ERROR: [028]: no such thing"


def way(host: Host, timeline: int | None = None) -> Catalogue:
    repository = Repository(host)
    return repository.with_way(repository.catalogue(), timeline)


def test_the_way_leads_to_the_timeline_that_is_named() -> None:
    found = way(Host([2, 3]), timeline=3)
    assert found.system_identifier == "7"
    assert found.timeline == 3
    assert not found.assumed
    assert [(one.timeline, str(one.switch_lsn)) for one in found.ancestry] == [(1, "0/5000000"), (2, "0/6000100")]


def test_without_a_name_it_leads_to_the_newest() -> None:
    # Its history was never archived: archiving began later.
    found = way(Host([2, 3]))
    assert (found.timeline, found.ancestry) == (5, ())
    assert found.assumed


def test_who_was_written_on_beside_the_newest_timeline() -> None:
    host = Host([2, 3])
    backup = {
        "label": "20261123-013000F",
        "type": "full",
        "database": {"id": 1, "repo-key": 2},
        "timestamp": {"start": 1, "stop": 2},
        "info": {"size": 1},
        "lsn": {"start": "0/1000028", "stop": "0/1000100"},
        "archive": {"start": "000000010000000000000001", "stop": "000000010000000000000001"},
        "error": False,
    }
    info = json.loads(host.answers["info --output=json"])
    info[0]["backup"] = [backup]
    host.answers["info --output=json"] = json.dumps(info)
    segments = {"00000001": ("02", "09"), "00000005": ("05", "06")}
    for timeline, names in segments.items():
        host.answers[f"17-1/{timeline}00000000 --filter=^[0-9A-F]{{24}}-"] = "".join(
            f"{timeline}00000000000000{name}-{'ab' * 20}.zst\n" for name in names
        )
    found = way(host)
    # Timeline 5 has no history here, so 1 is none of its ancestors.
    assert found.rivals == ()
    host.answers["repo-get archive/main/17-1/00000005.history"] = HISTORY
    host.answers = {
        end: f"{answer}\n00000005.history" if end.endswith("history)$") else answer
        for end, answer in host.answers.items()
    }
    assert way(host).rivals == (1,)
    # Where the backup is, the archive is looked at.
    assert all("--repo=2" in words for words in host.asked if "repo-" in words)


def test_the_first_timeline_has_no_ancestors() -> None:
    first = way(Host([2, 3]), timeline=1)
    assert (first.timeline, first.ancestry) == (1, ())


def test_a_timeline_that_was_never_archived() -> None:
    with pytest.raises(BackupError, match=r"no timeline 4, it has 1, 2, 3, 5\. Nothing was changed"):
        way(Host([2, 3]), timeline=4)


def test_pgbackrest_says_itself_what_went_wrong() -> None:
    with pytest.raises(BackupError, match=r"stanza-create failed: .*no such thing"):
        Repository(Host()).ask("stanza-create")


def test_it_is_asked_as_postgres() -> None:
    host = Host()
    way(host)
    assert host.asked
    assert all("runuser -u postgres" in words for words in host.asked)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "Wed 2026-11-25 01:34:00 UTC 23h - - pg-backup-diff.timer pg-backup@diff.service\n",
            "2026-11-25 01:34:00 UTC",
        ),
        ("", ""),
    ],
)
def test_when_the_next_backup_is_due(said: str, expected: str) -> None:
    assert Repository(lambda _argv: (0, said, "")).next_of("pg-backup-diff.timer") == expected


@pytest.mark.parametrize(("state", "running"), [("activating", True), ("inactive", False), ("failed", False)])
def test_whether_a_backup_is_being_made(state: str, running: bool) -> None:
    said = f"ActiveState=inactive\nResult=success\n\nActiveState={state}\n"
    assert Repository(lambda _argv: (0, said, "")).backup_running() is running


def test_each_unit_has_what_was_said_of_it() -> None:
    said = "ActiveState=inactive\n\nActiveState=failed\nResult=exit-code\n\nActiveState=activating\n"
    units = Repository(lambda _argv: (0, said, "")).units()
    assert {kind: unit["ActiveState"] for kind, unit in units.items()} == {
        "full": "inactive",
        "diff": "failed",
        "incr": "activating",
    }
    assert (units["diff"]["Result"], units["full"]["Result"]) == ("exit-code", "")


def test_what_the_jobs_left_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"result_max_age": 7, "directory": str(tmp_path)}
    for name, content in (("MEDIA_RESULT", {"good": None}), ("VERIFY_CONFIG", config)):
        file = tmp_path / name
        file.write_text(json.dumps(content))
        monkeypatch.setattr(backup_io, name, file)
    seen = Repository(Host()).observe()
    assert seen["media"]["result"] == {"good": None}
    assert (seen["verified"]["result"], seen["verified"]["max_age"]) == (None, 7)
    (tmp_path / "result.json").write_text('{"ok": true}')
    assert Repository(Host()).verified()["result"] == {"ok": True}
    assert seen["catalogue"]["version"] == 17


def test_the_times_of_snapshots_are_looked_up_for_a_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_io, "COMMAND", "/bin/sh")
    said = json.dumps([{"id": "a", "time": "2026-11-23T12:00:00Z"}])
    repository = Repository(lambda argv: (0, said if argv[0] == "/bin/sh" else "", ""))
    assert repository.media(snapshots=True)["times"] == [1795435200.0]
    assert "times" not in repository.media(snapshots=False)
    with pytest.raises(BackupError, match=r"wrong password.*-e restore_what=database"):
        Repository(lambda argv: (1, "", "wrong password")).media(snapshots=True)
