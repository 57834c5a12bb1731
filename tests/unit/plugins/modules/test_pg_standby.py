# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

MODULE = Path(__file__).parents[4] / "plugins" / "modules" / "pg_standby.py"


def call(directory: Path, **arguments: Any) -> dict[str, Any]:
    """Run the module the way Ansible does, in a process of its own."""
    arguments = {"_ansible_remote_tmp": str(directory / "tmp"), **arguments}
    file = directory / "arguments.json"
    file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(MODULE), str(file)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def standby(directory: Path, **more: Any) -> dict[str, Any]:
    arguments = {
        "action": "clone",
        "version": 99,
        "data_directory": str(directory / "data"),
        "config_directory": str(directory / "conf"),
        "upstream_host": "localhost",
        "upstream_address": "127.0.0.1",
        "upstream_port": 1,
        "application_name": "PG-2",
        "passfile": str(directory / "replication.pgpass"),
    }
    return call(directory, **{**arguments, **more})


def test_a_rehearsal_on_a_fresh_host(tmp_path: Path) -> None:
    result = standby(tmp_path, _ansible_check_mode=True)

    assert result["changed"] is True
    assert result["actions"] == ["copy", "configure", "enable", "start"]
    assert result["instance"]["state"] == "absent"
    assert "primary_slot_name = 'pg_2'" in result["diff"][0]["after"]
    assert "localhost:1 can't be asked" in str(result["warnings"])
    assert not (tmp_path / "data").exists()
    assert (result["reason"], result["lost"]) == (None, {"transactions": 0, "directory": None})


def test_a_rejoin_of_an_empty_host_is_a_clone(tmp_path: Path) -> None:
    result = standby(tmp_path, action="rejoin", _ansible_check_mode=True)

    assert result["actions"] == ["copy", "configure", "enable", "start"]
    assert result["reason"] == "there is no database here"
    assert result["lost"] == {"transactions": 0, "directory": None}


def test_an_upstream_that_is_not_there(tmp_path: Path) -> None:
    result = standby(tmp_path)

    assert result["failed"] is True
    assert "localhost:1 can't be asked as replication" in result["msg"]
    assert "Expected: it runs" in result["msg"]


def test_a_slot_that_postgresql_would_not_take(tmp_path: Path) -> None:
    result = standby(tmp_path, slot="PG-2")

    assert "slot is 'PG-2', expected lower-case letters" in result["msg"]
