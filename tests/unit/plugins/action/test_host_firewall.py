# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.renfo.redundancy.plugins.action import host_firewall
from ansible_collections.renfo.redundancy.plugins.action.host_firewall import ActionModule

TRIED = {"changed": True, "tried": True, "connection": "192.0.2.1 50000 192.0.2.31 22"}


def act(answers: list[Any], **arguments: Any) -> tuple[dict[str, Any], Any]:
    """Run the action; the module on the host gives *answers*, one after the other."""
    task = MagicMock(args={"rules": [], **arguments}, async_val=0, check_mode=False)
    action = ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    action._execute_module = MagicMock(side_effect=answers)
    result: dict[str, Any] = action.run(task_vars={"inventory_hostname": "lb1"})
    return result, action


def test_rules_that_are_there_cost_one_call() -> None:
    result, action = act([{"changed": False, "tried": False}])
    assert not result["changed"]
    assert not action._connection.reset.called


def test_rules_that_are_tried_are_confirmed_by_a_new_connection() -> None:
    result, action = act([TRIED, {"changed": True}])
    assert result["changed"]
    assert not result.get("failed")
    assert action._connection.reset.call_count == 1
    asked = action._execute_module.call_args.kwargs["module_args"]
    assert asked == {"rules": [], "state": "confirmed", "tried_by": TRIED["connection"]}


def test_a_refusal_is_not_confirmed() -> None:
    result, action = act([{"failed": True, "msg": "Nothing was changed."}])
    assert result["failed"]
    assert action._execute_module.call_count == 1


def test_a_host_that_is_slow_to_let_anybody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_firewall.time, "sleep", lambda _seconds: None)
    answers = [TRIED, AnsibleConnectionFailure("refused"), {"unreachable": True}, {"changed": True}]
    result, action = act(answers)
    assert not result.get("failed")
    assert action._connection.reset.call_count == 3


def test_a_host_that_lets_nobody_in_any_more() -> None:
    result, _action = act([TRIED, AnsibleConnectionFailure("refused")], undo_after=0)
    assert result["failed"]
    assert "could not be confirmed by a new connection: refused. The host goes back" in result["msg"]


def test_a_host_that_has_gone_back() -> None:
    result, action = act([TRIED, {"failed": True, "msg": "this host has undone the new rules"}])
    assert result["failed"]
    assert "has undone" in result["msg"]
    assert action._execute_module.call_count == 2
