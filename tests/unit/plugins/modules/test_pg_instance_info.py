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

MODULE = Path(__file__).parents[4] / "plugins" / "modules" / "pg_instance_info.py"


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


def test_a_host_without_postgresql(tmp_path: Path) -> None:
    result = call(tmp_path, version=99, port=5433)

    assert result["changed"] is False
    assert result["instance"]["state"] == "absent"
    assert result["instance"]["data_directory"] == "/var/lib/postgresql/99/main"
    assert result["instance"]["port"] == 5433


def test_a_directory_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "photo").touch()
    result = call(tmp_path, version=99, data_directory=str(tmp_path))

    assert result["failed"] is True
    assert "holds no whole PostgreSQL database" in result["msg"]
    assert result["data_directory"] == str(tmp_path)


def test_a_directory_of_its_own_needs_its_version(tmp_path: Path) -> None:
    result = call(tmp_path, data_directory=str(tmp_path))

    assert result["failed"] is True
    assert "version" in result["msg"]


def test_the_version_of_an_instance_that_is_not_there(tmp_path: Path) -> None:
    instance = call(tmp_path, cluster="no-such-cluster", port=5433)["instance"]

    assert (instance["state"], instance["version"], instance["port"]) == ("absent", None, 5433)
