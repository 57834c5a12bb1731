# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_verdict import Evidence
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_disaster import (
    MOST,
    Accounts,
    Moments,
    Stage,
    accounts,
    document,
    figures,
    loss_rows,
    markdown,
    picture,
    stage_rows,
)

#: A backup at 20, a snapshot that begins at 30, the end at 200.
MOMENTS = Moments(backup=20.0, snapshot=30.0, destroyed=200.0)
ABOUT = {"lab": "test", "kept": "ops1", "inventory": "lab"}
STAGES = [Stage("destroy the hosts", 200.0, 2.0), Stage("restore.yml", 202.0, 40.0)]
BACK = {"page": 250.0, "all": 255.5}


def write(sent: float, took: float = 0.1, outcome: str = "ok") -> dict[str, Any]:
    return {"operation": "write", "sent": sent, "done": sent + took, "outcome": outcome, "key": f"k{sent:g}", "id": 1}


def upload(sent: float, outcome: str = "ok") -> dict[str, Any]:
    name = f"v{sent:g}"
    return {
        "operation": "upload",
        "sent": sent,
        "done": sent + 0.1,
        "outcome": outcome,
        "id": name,
        "sha256": f"{int(sent):064x}",
    }


def found(
    requests: list[dict[str, Any]], lost: tuple[float, ...] = (), twice: tuple[float, ...] = (), **served: str
) -> Accounts:
    """All of *requests* came back but what was sent at *lost*; *served* says what came of a video instead."""
    sessions = {item["key"]: 1 + (item["sent"] in twice) for item in requests if item["operation"] == "write"}
    downloads = {item["id"]: item["sha256"] for item in requests if item["operation"] == "upload"}
    for sent in lost:
        sessions.pop(f"k{sent:g}", None)
        if f"v{sent:g}" in downloads:
            downloads[f"v{sent:g}"] = "404, message='NOT FOUND'"
    return accounts(requests, Evidence(sessions, {}, {**downloads, **served}), MOMENTS)


ALL = [*(write(at) for at in (10.0, 50.0, 100.0, 150.0, 190.0)), *(upload(at) for at in (10.5, 25.5, 60.5, 190.5))]


def test_nothing_lost() -> None:
    result = found(ALL)
    assert (result.writes.acknowledged, result.writes.lost, result.writes.rpo) == (5, 0, 0.0)
    assert (result.uploads.acknowledged, result.uploads.lost, result.uploads.rpo) == (4, 0, 0.0)
    assert list(result.failures()) == []


def test_what_the_archive_did_not_have_yet() -> None:
    result = found(ALL, lost=(150.0, 190.0))
    assert result.writes.lost == 2
    assert result.writes.rpo == pytest.approx(200 - 150.1)
    assert list(result.failures()) == []


def test_uploads_after_the_snapshot() -> None:
    result = found(ALL, lost=(60.5, 190.5))
    assert (result.writes.lost, result.uploads.lost) == (0, 2)
    assert result.uploads.rpo == pytest.approx(200 - 60.6)
    assert list(result.failures()) == []


def test_an_upload_that_was_made_while_the_snapshot_began() -> None:
    assert list(found([*ALL, upload(29.5)], lost=(29.5,)).failures()) == []


@pytest.mark.parametrize(
    ("lost", "sentence"),
    [
        ((50.0,), "1 acknowledged write(s) lost that are older than one that came back, or than the backup"),
        # Nothing came back that was written later, and yet: the backup had it.
        ((10.0, 50.0, 100.0, 150.0, 190.0), "1 acknowledged write(s) lost that are older than one that came back"),
        ((50.0, 100.0, 150.0, 190.0), "acknowledged writes of the last 149.9 s lost, expected of 120 s at most"),
        ((25.5,), "1 acknowledged upload(s) lost that are older than the snapshot, and than a write that came back"),
    ],
)
def test_losses_that_no_delay_explains(lost: tuple[float, ...], sentence: str) -> None:
    failures = list(found(ALL, lost=lost).failures())
    assert failures[0].startswith(sentence), failures


def test_an_upload_whose_row_the_archive_did_not_have_is_no_fault_of_the_snapshot() -> None:
    late = [write(10.0), write(18.0), write(27.0), upload(25.5)]
    result = found(late, lost=(27.0, 25.5))
    assert (result.uploads.early, result.writes.early) == ((), ())


def test_writes_that_were_under_way_at_the_same_time_have_no_order() -> None:
    """The one that came back was sent before the other was answered: it may have been committed first."""
    assert found([*ALL, write(195.0, took=3.0), write(196.0)], lost=(196.0,)).writes.early == ()
    assert found([*ALL, write(195.0), write(195.2)], lost=(195.0,)).writes.early == ("k195",)


def test_what_nobody_was_promised_is_no_loss() -> None:
    asked = [*ALL, write(120.0, outcome="unknown"), write(130.0, outcome="failed"), upload(120.5, outcome="unknown")]
    result = found(asked, lost=(120.0, 130.0, 120.5))
    assert (result.writes.acknowledged, result.writes.lost, result.uploads.lost) == (5, 0, 0)


def test_a_write_that_is_there_twice() -> None:
    assert list(found(ALL, twice=(50.0,)).failures()) == ["1 write(s) there more than once: k50"]


def test_a_video_with_other_bytes() -> None:
    failures = list(found(ALL, **{"v190.5": "ab" * 32}).failures())
    assert failures == ["1 upload(s) served with other bytes than were sent: v190.5"]


def test_a_client_that_was_promised_nothing_proves_nothing() -> None:
    assert list(found([write(10.0)]).failures()) == ["1 write(s), 0 upload(s) acknowledged, expected both"]


def test_a_rehearsal_that_passed() -> None:
    told = document(ABOUT, STAGES, MOMENTS, found(ALL, lost=(150.0, 190.0, 190.5)), BACK)
    assert told["passed"]
    assert told["rto_seconds"] == 55.5
    assert told["rpo_seconds_database"] == pytest.approx(49.9)
    assert told["rpo_seconds_media"] == pytest.approx(9.4)
    assert told["snapshot_age_seconds"] == 170
    assert [stage["since"] for stage in told["stages"]] == [0, 2]
    assert list(figures(told)) == [
        "Writes:  5 acknowledged, 2 lost: the last 49.9 s (RPO; aim 60 s, at most 120 s)",
        "Uploads: 4 acknowledged, 1 lost: the last 9.4 s (RPO; the snapshot was 170.0 s old)",
        "Page, consistent read, write and video all work 56 s after the destruction (RTO)",
    ]


def test_the_tables_alone() -> None:
    table = markdown(document(ABOUT, STAGES, MOMENTS, found(ALL, lost=(190.0,)), BACK))
    assert "Every host but `ops1` was destroyed" in table
    assert "| writes | 5 | 1 | 9.9 s | aim 60 s (`archive_timeout`), at most 120 s |" in table
    assert "| uploads | 4 | 0 | 0.0 s | the snapshot was 170.0 s old |" in table
    assert "| restore.yml | 40.0 s | 42.0 s |" in table
    assert "video all work (RTO) |  | 55.5 s |" in table


def test_a_site_that_never_came_back() -> None:
    told = document(ABOUT, STAGES, MOMENTS, found(ALL), {"page": 250.0})
    assert not told["passed"]
    assert told["failures"] == ["page, consistent read, write and video never all worked again"]
    assert told["rto_seconds"] is None


def test_a_rehearsal_that_broke_off() -> None:
    told = document(ABOUT, STAGES, MOMENTS, broken=["restore.yml ended with 2, expected 0"])
    assert told["failures"] == ["restore.yml ended with 2, expected 0"]
    assert told["rpo_seconds_database"] is None
    assert loss_rows(told) == []
    assert len(stage_rows(told)) == 2
    assert "**restore.yml ended with 2, expected 0**" in markdown(told)
    assert list(figures(told)) == ["FAILED: restore.yml ended with 2, expected 0"]


@pytest.mark.parametrize("stages", [[], STAGES])
def test_there_is_a_picture(stages: list[Stage]) -> None:
    assert picture(document(ABOUT, stages, MOMENTS, found(ALL), BACK)).startswith(b"\x89PNG")


def test_the_most_that_may_be_lost_is_the_bound() -> None:
    kept = [write(5.0), write(30.0), upload(10.0)]
    lost = write(200 - MOST - 0.1)
    assert list(found([*kept, lost], lost=(lost["sent"],)).failures()) == []
