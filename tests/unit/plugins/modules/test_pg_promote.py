# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from module_process import call


def promote(directory: Path, **more: Any) -> dict[str, Any]:
    return call("pg_promote", directory, version=99, data_directory=str(directory / "data"), **more)


@pytest.mark.parametrize("check_mode", [True, False])
def test_nothing_there(tmp_path: Path, check_mode: bool) -> None:
    result = promote(tmp_path, _ansible_check_mode=check_mode)

    assert result["failed"] is True
    assert f"the instance in {tmp_path}/data is absent, expected a running one" in result["msg"]
    assert result["state"] == "absent"


def test_a_stopped_instance(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").touch()

    assert "is stopped, expected a running one" in promote(tmp_path)["msg"]


def test_a_peer_without_a_name(tmp_path: Path) -> None:
    assert "expected a name, an address and a port" in promote(tmp_path, peers=[{"address": "192.0.2.21"}])["msg"]
