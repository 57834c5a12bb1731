# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.renfo.redundancy.plugins.action import drill_fault
from ansible_collections.renfo.redundancy.plugins.action.drill_fault import ActionModule
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_journal import lines

POWER = {"kind": "power"}
FREEZE = {"kind": "freeze", "unit": "nginx.service"}


def test_the_host_never_learns_of_its_power_switch(tmp_path: Path) -> None:
    arguments = {"means": FREEZE, "journal": str(tmp_path / "events.jsonl"), "power_off": "ipmi -P secret"}
    task = MagicMock(args=arguments, async_val=0, check_mode=False)
    action = ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    action._execute_module = MagicMock(return_value={"changed": True, "at": 1.0})
    action.run(task_vars={"inventory_hostname": "lb1"})
    assert "secret" not in str(action._execute_module.call_args)


def act(folder: Path, answers: list[Any] | None = None, check: bool = False, **arguments: Any) -> dict[str, Any]:
    """Run the action on lb1; the module there gives *answers*, one after the other."""
    arguments = {"journal": str(folder / "events.jsonl"), **arguments}
    task = MagicMock(args=arguments, async_val=0, check_mode=check)
    action = ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    action._execute_module = MagicMock(side_effect=answers or [])
    result: dict[str, Any] = action.run(task_vars={"inventory_hostname": "lb1"})
    return result


def events(folder: Path) -> list[tuple[str, float]]:
    return [(event["event"], event["at"]) for event in lines(folder / "events.jsonl")]


def test_a_host_is_switched_off_from_here(tmp_path: Path) -> None:
    result = act(tmp_path, means=POWER, power_off=f"touch {tmp_path}/off")
    assert (tmp_path / "off").exists()
    assert result["changed"]
    assert [name for name, _at in events(tmp_path)] == ["injecting", "injected"]


def test_a_switch_that_fails_is_an_error_and_told_to_nobody(tmp_path: Path) -> None:
    result = act(tmp_path, means=POWER, state="absent", power_on="echo secret >&2; exit 3")
    assert result["failed"]
    assert result["msg"] == "drill_power_on_command of lb1 ended with 3, expected 0. Run it by hand to see why"
    assert events(tmp_path) == []


def test_a_switch_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill_fault, "SWITCH", 0.1)
    began = time.monotonic()
    # Whatever it started and left behind is not waited for either.
    assert "no answer within 0.1 s" in act(tmp_path, means=POWER, power_off="sleep 9 & sleep 9; true")["msg"]
    assert time.monotonic() - began < 5


def test_everything_else_is_done_on_the_host(tmp_path: Path) -> None:
    act(tmp_path, [{"changed": True, "at": 5.0}], means=FREEZE)
    assert [name for name, _at in events(tmp_path)] == ["injecting", "injected"]
    assert events(tmp_path)[1] == ("injected", 5.0)


def test_a_host_that_cuts_itself_off_does_so_later(tmp_path: Path) -> None:
    act(tmp_path, [{"changed": True, "at": 5.0}], means=FREEZE, delay=1)
    assert events(tmp_path) == [("injecting", 5.0), ("injected", 5.0)]


def test_a_host_that_is_still_cut_off_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill_fault.time, "sleep", lambda _seconds: None)
    answers = [{"unreachable": True}, AnsibleConnectionFailure("cut"), {"changed": True, "at": 9.0}]
    assert act(tmp_path, answers, means=FREEZE, state="absent")["at"] == 9.0
    assert events(tmp_path)[1] == ("healed", 9.0)


def test_nobody_waits_for_ever(tmp_path: Path) -> None:
    with pytest.raises(AnsibleConnectionFailure):
        act(tmp_path, [AnsibleConnectionFailure("cut")], means=FREEZE, state="absent", patience=0)
    # Whoever is to be broken has to be there.
    with pytest.raises(AnsibleConnectionFailure):
        act(tmp_path, [AnsibleConnectionFailure("cut")], means=FREEZE)


def test_check_mode_breaks_nothing(tmp_path: Path) -> None:
    assert act(tmp_path, check=True, means=POWER, power_off=f"touch {tmp_path}/off")["changed"]
    assert not list(tmp_path.iterdir())
