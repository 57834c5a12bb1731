# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.renfo.redundancy.plugins.action.decide import ActionModule


def decide(**arguments: Any) -> dict[str, Any]:
    task = MagicMock(args=arguments, async_val=0, check_mode=True)
    action = ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    result: dict[str, Any] = action.run(task_vars={})
    return result


def test_a_plan_is_shown_and_returned(capsys: pytest.CaptureFixture[str]) -> None:
    plan = {"refusals": [], "candidate": "pg2"}

    assert decide(plan=plan, text="pg2 takes over\n\n") == {"changed": False, "plan": plan}
    assert capsys.readouterr().out == "\npg2 takes over\n"


def test_what_is_refused_is_shown_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    result = decide(plan={"refusals": ["pg1 runs", "pg2 lags"]}, text="Refused")

    assert result["failed"]
    assert result["msg"] == "Refused.\n- pg1 runs\n- pg2 lags"
    assert capsys.readouterr().out == "\nRefused\n"


def test_a_plan_is_required() -> None:
    with pytest.raises(AnsibleActionFail, match="missing required arguments: plan"):
        decide(text="x")
