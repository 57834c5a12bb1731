# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible_collections.renfo.redundancy.plugins.action.debian_packages import ActionModule


def act(dpkg: str, *wanted: str) -> tuple[dict[str, Any], Any]:
    """Run the action on a host whose dpkg says that."""
    action = ActionModule(
        MagicMock(args={"name": list(wanted)}, async_val=0, check_mode=False), *(MagicMock() for _number in range(5))
    )
    action._low_level_execute_command = MagicMock(return_value={"stdout": dpkg})
    action._execute_module = MagicMock(return_value={"changed": True})
    return action.run(task_vars={}), action


def test_apt_is_not_asked_for_what_is_there() -> None:
    result, action = act("nginx installed\ncurl installed\n", "nginx", "curl")
    assert result == {"changed": False}
    assert not action._execute_module.called
    assert action._low_level_execute_command.call_args.args[0].endswith(" nginx curl")


@pytest.mark.parametrize(
    "dpkg",
    [
        pytest.param("curl installed\n", id="never heard of"),
        pytest.param("nginx config-files\ncurl installed\n", id="removed"),
        pytest.param("nginx half-installed\ncurl installed\n", id="interrupted"),
        pytest.param("nginx not-installed\ncurl installed\n", id="known, and not there"),
        pytest.param("", id="no answer"),
    ],
)
def test_apt_installs_what_is_missing(dpkg: str) -> None:
    result, action = act(dpkg, "nginx", "curl")
    assert result["changed"]
    asked = action._execute_module.call_args.kwargs
    assert asked["module_name"] == "ansible.builtin.apt"
    assert asked["module_args"]["name"] == ["nginx", "curl"]
    assert asked["module_args"]["install_recommends"] is False
