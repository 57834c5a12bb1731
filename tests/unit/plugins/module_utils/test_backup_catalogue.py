# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import (
    BackupError,
    Catalogue,
    Wanted,
    another_cluster,
    choose,
    find_rivals,
    kept_backups,
    parse_info,
    parse_time,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import Lsn, TimelineSwitch

NOON = 1795435200.0  # 2026-11-23 12:00 UTC
SYSTEM = "7443211234567890123"


def backup(label: str, stop: float, history: int = 1, broken: bool = False, size: int = 5_000_000) -> dict[str, Any]:
    return {
        "label": label,
        "type": "full" if label.endswith("F") else "diff",
        "database": {"id": history, "repo-key": 1},
        "timestamp": {"start": stop - 60, "stop": stop},
        "info": {"size": size},
        "lsn": {"start": "0/5000028", "stop": "0/6000100"},
        "archive": {"start": "000000030000000000000005", "stop": "000000030000000000000006"},
        "error": broken,
    }


def info(*backups: dict[str, Any], status: int = 0, system: str = SYSTEM) -> str:
    return json.dumps(
        [
            {
                "name": "main",
                "db": [{"id": 1, "repo-key": 1, "system-id": int(system), "version": "17"}],
                "backup": list(backups),
                "archive": [
                    {
                        "database": {"id": 1, "repo-key": 1},
                        "id": "17-1",
                        "min": "000000010000000000000001",
                        "max": "000000030000000000000009",
                    }
                ],
                "repo": [{"key": 1, "cipher": "aes-256-cbc", "status": {"code": status, "message": "other"}}],
            }
        ]
    )


FULL, DIFF = backup("20261122-020000F", NOON - 36000), backup("20261122-020000F_20261123-020000D", NOON - 3600)
CATALOGUE = parse_info(info(DIFF, FULL), "main")


def test_what_the_repository_holds() -> None:
    assert [found.label for found in CATALOGUE.backups] == [FULL["label"], DIFF["label"]]
    assert CATALOGUE.backups[0].timeline == 3
    assert CATALOGUE.histories == {1: SYSTEM}
    assert CATALOGUE.archives[0].last == "000000030000000000000009"


@pytest.mark.parametrize("text", ["", "no", "{", '[{"stanza": 1}]', "[1]"])
def test_what_is_no_catalogue(text: str) -> None:
    with pytest.raises(BackupError):
        parse_info(text, "main")


@pytest.mark.parametrize(
    ("time", "label", "expected", "options"),
    [
        (None, "", DIFF, ("--type=default",)),
        (NOON - 3599, "", DIFF, ("--type=time", "--target=2026-11-23 11:00:01.000000+00", "--target-action=pause")),
        (NOON - 3599.5, "", FULL, ("--type=time", "--target=2026-11-23 11:00:00.500000+00", "--target-action=pause")),
        (None, FULL["label"], FULL, ("--type=immediate", "--target-action=pause")),
    ],
)
def test_what_is_taken(time: float | None, label: str, expected: dict[str, Any], options: tuple[str, ...]) -> None:
    chosen = choose(CATALOGUE, Wanted(time, label), NOON, SYSTEM)
    assert chosen.backup.label == expected["label"]
    assert chosen.options == (f"--set={expected['label']}", *options)


@pytest.mark.parametrize(
    ("catalogue", "wanted", "words"),
    [
        (CATALOGUE, Wanted(time=NOON + 1), "in the future"),
        (CATALOGUE, Wanted(time=NOON - 36001), "was before it"),
        (CATALOGUE, Wanted(label="20200101-000000F"), "there is no backup '20200101-000000F', there are"),
        (parse_info(info(), "main"), Wanted(), "no whole backup"),
        (parse_info(info(backup("x", NOON, broken=True)), "main"), Wanted(), "no whole backup"),
        (parse_info(info(FULL, status=99), "main"), Wanted(), "repository 1: other"),
        (parse_info(info(FULL, system="1"), "main"), Wanted(), f"of the cluster 1, expected {SYSTEM}"),
        (dataclasses.replace(CATALOGUE, histories={1: SYSTEM, 2: "2"}), Wanted(), "of the cluster 2"),
        (dataclasses.replace(CATALOGUE, timeline=5), Wanted(), "no backup lies on the timeline"),
    ],
)
def test_what_is_refused(catalogue: Catalogue, wanted: Wanted, words: str) -> None:
    with pytest.raises(BackupError) as caught:
        choose(catalogue, wanted, NOON, SYSTEM)
    assert words in str(caught.value)
    assert "Nothing was changed" in str(caught.value)


def test_where_no_cluster_is_left_any_may_be_restored() -> None:
    assert choose(parse_info(info(FULL, system="1"), "main"), Wanted(), NOON).backup.label == FULL["label"]


def on(timeline: int, *switches: tuple[int, str]) -> Catalogue:
    """The catalogue with a way to that timeline; its backups are of timeline 3 and end at 0/6000100."""
    return dataclasses.replace(
        CATALOGUE,
        timeline=timeline,
        ancestry=tuple(TimelineSwitch(number, Lsn.parse(where)) for number, where in switches),
    )


def test_the_timeline_is_gone_to_by_name() -> None:
    """PostgreSQL's own "latest" may be that of somebody who was promoted by mistake."""
    assert choose(on(3), Wanted(), NOON).options[1:] == ("--type=default", "--target-timeline=current")
    assert choose(on(4, (3, "0/6000100")), Wanted(), NOON).options[1:] == ("--type=default", "--target-timeline=4")


def test_a_backup_beside_the_way_is_not_taken() -> None:
    # Timeline 4 left timeline 3 before the backups ended.
    beside = on(4, (3, "0/6000000"))
    assert not any(beside.leads_on(one) for one in beside.backups)
    with pytest.raises(BackupError, match="no backup lies on the timeline"):
        choose(beside, Wanted(), NOON)
    # By its label any may be had.
    assert choose(beside, Wanted(label=FULL["label"]), NOON).backup.label == FULL["label"]


def test_a_timeline_that_nobody_named_must_lead_through_the_newest_backup() -> None:
    """Else all that was written since whoever archived it was promoted by mistake would be lost."""
    stray = dataclasses.replace(on(4, (3, "0/6000000")), assumed=True)
    with pytest.raises(BackupError) as caught:
        choose(stray, Wanted(), NOON)
    for words in ("Nothing was changed", "-e restore_timeline=3", "-e restore_timeline=4", stray.whole[-1].label):
        assert words in str(caught.value)
    followed = dataclasses.replace(on(4, (3, "0/6000100")), assumed=True)
    assert choose(followed, Wanted(), NOON).backup == followed.whole[-1]
    # It went on there, too.
    beside = dataclasses.replace(followed, rivals=(3,))
    with pytest.raises(BackupError, match=r"so was timeline 3, beside it.* -e restore_timeline=3, or -e"):
        choose(beside, Wanted(), NOON)
    assert choose(dataclasses.replace(beside, assumed=False), Wanted(), NOON).backup == followed.whole[-1]
    # By its label a backup is taken without a way.
    assert choose(stray, Wanted(label=FULL["label"]), NOON).backup.label == FULL["label"]


@pytest.mark.parametrize(
    ("spans", "way", "rivals"),
    [
        pytest.param({3: ("01", "07"), 4: ("07", "09")}, (3, 4), (), id="a failover"),
        pytest.param({3: ("01", "08"), 4: ("07", "09")}, (3, 4), (3,), id="the old one went on"),
        pytest.param({3: ("01", "07")}, (3, 4), (3,), id="nothing was written on the new one"),
        pytest.param({3: ("01", "07"), 5: ("07", "09")}, (3, 4, 5), (), id="two failovers, one after the other"),
        pytest.param({3: ("01", "07"), 4: ("07", "09"), 5: ("06", "08")}, (3, 5), (3, 4), id="another one"),
        pytest.param({2: ("01", "09"), 3: ("04", "07"), 4: ("07", "09")}, (2, 3, 4), (), id="before the backup"),
        pytest.param({3: ("01", "07")}, (3,), (), id="nobody was promoted"),
    ],
)
def test_who_was_written_on_beside_the_way(
    spans: dict[int, tuple[str, str]], way: tuple[int, ...], rivals: tuple[int, ...]
) -> None:
    assert find_rivals(spans, way, since=3) == rivals


def test_it_survives_being_plain_data() -> None:
    there = dataclasses.replace(on(4, (3, "0/6000100")), assumed=True, rivals=(3,))
    assert Catalogue.from_dict(json.loads(json.dumps(there.to_dict()))) == there


def test_no_new_cluster_beside_backups_of_one() -> None:
    assert "restore.yml -e restore_to=latest brings it back" in kept_backups(CATALOGUE)
    assert "move pg_backup_directory away" in kept_backups(CATALOGUE)
    assert kept_backups(parse_info("[]", "main")) == ""
    # Some that are there can't be used: that is no reason to begin anew.
    for unclear in (info(backup("x", NOON, broken=True)), info(status=99)):
        with pytest.raises(BackupError, match="Is it the right passphrase"):
            kept_backups(parse_info(unclear, "main"))


def test_a_repository_with_troubles_keeps_nobody_from_another_one() -> None:
    second = {**FULL, "database": {"id": 1, "repo-key": 2}, "label": "20261122-030000F"}
    found = json.loads(info(FULL, second))
    found[0]["repo"].append({"key": 2, "cipher": "none", "status": {"code": 99, "message": "no answer"}})
    chosen = choose(parse_info(json.dumps(found), "main"), Wanted(), NOON)
    assert chosen.backup.label == FULL["label"]
    assert chosen.options[-1] == "--repo=1"
    found[0]["repo"][0]["status"]["code"] = 99
    with pytest.raises(BackupError, match="repository 1: other; repository 2: no answer"):
        choose(parse_info(json.dumps(found), "main"), Wanted(), NOON)


def test_a_repository_without_a_stanza_is_nobodys() -> None:
    assert another_cluster(parse_info("[]", "main"), SYSTEM) == ""
    assert another_cluster(CATALOGUE, "") == ""


def test_a_time_says_its_zone() -> None:
    assert parse_time("2026-11-23T13:00:00+01:00") == parse_time("2026-11-23 12:00:00Z") == NOON
    for text in ("2026-11-23 12:00:00", "yesterday", ""):
        with pytest.raises(BackupError, match="Nothing was changed"):
            parse_time(text)
