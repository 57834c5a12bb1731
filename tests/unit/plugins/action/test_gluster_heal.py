# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible_collections.renfo.redundancy.plugins.action import gluster_heal

NAME = "10.0.0.21:/srv/brick"


def look(*waiting: int | None) -> list[dict[str, Any]]:
    return [
        {"changed": False, "bricks": [{"name": NAME, "online": True, "to_heal": count}], "layout": {}}
        for count in waiting
    ]


def wait(monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Any]], check_mode: bool = False) -> dict[str, Any]:
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr(gluster_heal.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(gluster_heal.time, "sleep", lambda seconds: None)
    task = MagicMock(args={"name": "media", "brick": "/srv/brick", "patience": 250}, async_val=0, check_mode=check_mode)
    action = gluster_heal.ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    monkeypatch.setattr(action, "_execute_module", lambda **_arguments: answers.pop(0))
    result: dict[str, Any] = action.run(task_vars={})
    return result


def test_it_waits_and_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert wait(monkeypatch, look(9, 9, 4, None, 0)) == {"changed": False, "waiting": 0}
    assert capsys.readouterr().out.splitlines() == [
        "9 files wait to be healed",
        "4 files wait to be healed",
        "an unknown number of files wait to be healed",
    ]


def test_it_gives_up_where_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    result = wait(monkeypatch, look(*[7] * 20))
    assert result["failed"]
    assert "7 files wait to be healed, and it got no further for 250 s" in result["msg"]


def test_a_number_that_goes_up_and_down_is_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    result = wait(monkeypatch, look(*[3, 2] * 20))
    assert result["failed"]


def test_a_brick_that_came_back_is_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    offline = [
        {"changed": False, "bricks": [{"name": NAME, "online": False, "to_heal": None}], "layout": {}} for _ in range(2)
    ]
    assert wait(monkeypatch, [*offline, *look(5, 5, 0)])["waiting"] == 0


def test_files_are_found_before_they_are_healed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wait(monkeypatch, look(1, *range(10, 30), *range(29, -1, -1)))["waiting"] == 0


def test_a_daemon_that_starts_just_now_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wait(monkeypatch, [{"changed": False, "error": "gluster doesn't answer"}, *look(0)])["waiting"] == 0


def test_check_mode_looks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wait(monkeypatch, look(7), check_mode=True) == {"changed": False, "waiting": 7}


def test_what_the_host_says_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wait(monkeypatch, [{"failed": True, "msg": "no"}]) == {"failed": True, "msg": "no"}
