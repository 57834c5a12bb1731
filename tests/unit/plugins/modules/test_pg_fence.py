# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

from module_process import call


def fence(directory: Path, **more: Any) -> dict[str, Any]:
    # No cluster has this name, so nothing of this machine's is touched.
    arguments = {"version": 99, "cluster": "unit_test", "data_directory": str(directory / "data")}
    return call("pg_fence", directory, **{**arguments, **more})


def test_a_rehearsal_where_nothing_is(tmp_path: Path) -> None:
    result = fence(tmp_path, reason="pg2 was promoted\n", _ansible_check_mode=True, _ansible_diff=True)

    assert (result["changed"], result["was"], result["stopped"]) == (True, "absent", False)
    assert result["diff"]["after"] == "pg2 was promoted\n"
    assert result["diff"]["before"] == ""
    assert result["diff"]["after_header"] == "/var/lib/postgresql/99-unit_test.fenced"
    assert not Path(result["diff"]["after_header"]).exists()


def test_a_standby(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "standby.signal").touch()
    result = fence(tmp_path, reason="by mistake")

    assert result["failed"] is True
    assert "belongs to a standby, expected a primary" in result["msg"]


def test_no_reason(tmp_path: Path) -> None:
    assert "state is fenced but all of the following are missing: reason" in fence(tmp_path)["msg"]


def test_nothing_to_lift(tmp_path: Path) -> None:
    result = fence(tmp_path, state="lifted", _ansible_check_mode=True)

    assert (result["changed"], result["was"]) == (False, "absent")
