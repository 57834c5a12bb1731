# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import json
from typing import Any

import pytest
import yaml
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.renfo.redundancy.plugins.modules import stack_host_info


def call(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
        stack_host_info.main()
    assert ended.value.code == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.parametrize("check_mode", [False, True], ids=["for real", "in check mode"])
def test_nothing_that_is_asked_for_is_there(capsys: pytest.CaptureFixture[str], check_mode: bool) -> None:
    result = call(
        capsys,
        _ansible_check_mode=check_mode,
        units=["no-such.service"],
        ready=[{"name": "app1-1", "url": "http://127.0.0.1:1/"}],
        addresses=["192.0.2.100"],
        certificates=["/no/such.crt"],
        mounts=["/no/such/directory"],
        gluster_volume="no-such-volume",
        timeout=0.5,
        gluster_timeout=1,
    )

    assert result["changed"] is False
    host = result["host"]
    assert host["units"]["no-such.service"]["running"] is False
    assert host["ready"]["app1-1"]["ok"] is False
    assert host["addresses"]["192.0.2.100"] in (False, None)
    assert host["certificates"]["/no/such.crt"]["error"] == "there is no such file"
    assert host["mounts"]["/no/such/directory"]["mounted"] is False
    assert host["gluster"]["answered"] is False


def test_nothing_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys)["host"] == {
        "units": {},
        "ready": {},
        "addresses": {},
        "certificates": {},
        "mounts": {},
        "gluster": None,
        "releases": None,
    }


def test_what_is_mounted_here_answers(capsys: pytest.CaptureFixture[str]) -> None:
    found = call(capsys, mounts=["/proc"])["host"]["mounts"]["/proc"]

    assert (found["mounted"], found["answers"], found["type"]) == (True, True, "proc")


def test_the_documented_options_are_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Stop(Exception):
        pass

    def spy(self: Any, **arguments: Any) -> None:
        seen.update(arguments)
        raise Stop

    monkeypatch.setattr(basic.AnsibleModule, "__init__", spy)
    with pytest.raises(Stop):
        stack_host_info.main()

    documented = yaml.safe_load(io.StringIO(stack_host_info.DOCUMENTATION))["options"]
    assert seen["supports_check_mode"] is True
    assert {name: (spec["type"], spec["default"]) for name, spec in seen["argument_spec"].items()} == {
        name: (option["type"], option["default"]) for name, option in documented.items()
    }
