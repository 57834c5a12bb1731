# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import BackupError
from ansible_collections.renfo.redundancy.plugins.module_utils.media_restore import (
    Choice,
    File,
    Row,
    Snapshot,
    choose,
    compare,
    comparison_lines,
    media_lines,
    media_plan,
    parse_files,
    parse_rows,
    parse_snapshots,
)

NOON = 1795435200.0
OLD, NEW = Snapshot("old", NOON), Snapshot("new", NOON + 900)
VIDEO = File(10, NOON - 60)


def test_what_restic_says_is_read() -> None:
    said = [{"id": "b", "time": "2026-11-23T13:00:00.123456789+01:00"}, {"id": "a", "time": "2026-11-23T11:59:00Z"}]
    assert [one.id for one in parse_snapshots(json.dumps(said))] == ["a", "b"]
    assert parse_snapshots(json.dumps(said))[1].time == pytest.approx(1795435200.123456)
    assert parse_snapshots("null") == ()
    lines = [
        {"struct_type": "snapshot", "id": "a"},
        {"struct_type": "node", "type": "dir", "path": "/videos", "mtime": "2026-11-23T12:00:00Z"},
        {"struct_type": "node", "type": "file", "path": "/videos/1", "size": 3, "mtime": "2026-11-23T12:00:00Z"},
        {"struct_type": "node", "type": "file", "path": "/.before-x/1", "size": 3, "mtime": "2026-11-23T12:00:00Z"},
        # restic leaves out a size of nothing.
        {"struct_type": "node", "type": "file", "path": "/videos/2", "mtime": "2026-11-23T12:00:00Z"},
    ]
    assert parse_files(map(json.dumps, lines)) == {"videos/1": File(3, NOON), "videos/2": File(0, NOON)}


def test_the_snapshots_around_a_moment() -> None:
    assert choose([OLD, NEW], NOON + 60) == Choice(OLD, NEW)
    assert choose([OLD, NEW], NOON) == Choice(OLD, NEW)
    assert choose([OLD, NEW], NOON - 1) == Choice(None, OLD)
    assert choose([OLD, NEW], NOON + 9000) == Choice(NEW, None)
    assert choose([OLD, NEW], None) == Choice(NEW, None)
    with pytest.raises(BackupError, match="there is no snapshot"):
        choose([], None)


def test_what_is_missing_comes_back() -> None:
    plan = media_plan(Choice(NEW, None), {"new": {"a": VIDEO, "b": VIDEO}}, {"a": VIDEO}, None)
    assert plan.bring == {"new": ("b",)}
    assert (plan.count, plan.size) == (1, 10)
    # Whatever is there is newer than any snapshot.
    assert media_plan(Choice(NEW, None), {"new": {"a": VIDEO}}, {"a": File(11, NOON)}, None).doubtful == {}


def test_a_moment_brings_back_what_was_there_then() -> None:
    held = {
        "old": {"kept": VIDEO, "deleted": VIDEO, "overwritten": VIDEO, "same": VIDEO},
        "new": {
            "deleted": File(12, NOON + 30),
            "uploaded then": File(1, NOON + 30),
            "uploaded later": File(1, NOON + 90),
            "still there": File(1, NOON + 30),
        },
    }
    store = {
        "kept": VIDEO,
        "overwritten": File(10, NOON + 500),
        "same": File(10, NOON - 60.0000004),
        "still there": File(1, NOON + 30),
    }
    plan = media_plan(Choice(OLD, NEW), held, store, NOON + 60)
    assert plan.bring == {"old": ("deleted",), "new": ("uploaded then",)}
    assert plan.doubtful == {"old": ("overwritten",)}
    assert plan.size == 11


def test_before_the_first_snapshot_what_was_there_comes_from_it() -> None:
    held = {"old": {"then": VIDEO, "later": File(1, NOON - 10)}}
    assert media_plan(Choice(None, OLD), held, {}, NOON - 30).bring == {"old": ("then",)}


def test_where_store_and_database_disagree() -> None:
    rows = [Row("1", "a", "s1"), Row("2", "b", "s2"), Row("3", "c", "s3"), Row("4", "d")]
    found = compare(rows, ["a", "c", "d", "z"], {"a": "s1", "c": "other"})
    assert [row.id for row in found.rows] == ["2"]
    assert [row.id for row in found.wrong] == ["3"]
    assert found.files == ("z",)
    assert found.checked == 2


def test_the_rows_of_the_query() -> None:
    assert parse_rows([{"id": 7, "path": "/videos/7", "sha256": None}]) == (Row("7", "videos/7", ""),)
    assert parse_rows([{"path": "7"}]) == (Row("7", "7", ""),)
    with pytest.raises(BackupError, match="gave a row with count, expected the columns id, path"):
        parse_rows([{"count": 7}])


def test_what_is_said_of_it() -> None:
    missing = [{"id": str(number), "path": "", "sha256": "s"} for number in range(25)]
    said = {"rows": 30, "files": 6, "checked": 5, "missing": missing, "wrong": [], "unknown": [], "report": "/x.json"}
    text = "\n".join(comparison_lines(said))
    assert "names 30 files, the store holds 6; 5 were read" in text
    assert "Without a file (id, checksum): 25" in text
    assert "  19  s\n  and 5 more: /x.json" in text
    assert "agree" not in text
    assert "Store and database agree." in list(comparison_lines({**said, "missing": []}))


def test_what_is_said_of_the_files_that_came_back() -> None:
    said = {
        "snapshots": {"old": NOON},
        "brought": 3,
        "bytes": 2_000_000,
        "replaced": 1,
        "aside": "/srv/media/.before-x",
    }
    first, second = media_lines(said)
    assert first == "Media: 3 files (2 MB) were brought back from the snapshot of 2026-11-23 12:00:00 UTC."
    assert "lies in /srv/media/.before-x" in second
    first, second = media_lines({**said, "aside": ""}, check=True)
    assert "would be brought back" in first
    assert second == "1 files held something else than then."
