# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.renfo.redundancy.plugins.action.show import ActionModule


def show(**arguments: Any) -> dict[str, Any]:
    task = MagicMock(args=arguments, async_val=0, check_mode=True)
    action = ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    result: dict[str, Any] = action.run(task_vars={})
    return result


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(text='a "b"\n  c\n\n') == {"changed": False}
    assert capsys.readouterr().out == '\na "b"\n  c\n'


def test_data_is_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    show(text="not shown", data={"healthy": False, "notes": []})
    assert json.loads(capsys.readouterr().out) == {"healthy": False, "notes": []}


def test_an_unknown_option() -> None:
    with pytest.raises(AnsibleActionFail, match=r"txet.*Supported parameters include: data, text"):
        show(txet="x")
