# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from module_process import call

PEER = {"name": "pg1", "address": "127.0.0.1", "port": 1, "slot": "pg1"}


def switchover(directory: Path, part: str, **more: Any) -> dict[str, Any]:
    arguments = {"version": 99, "data_directory": str(directory / "data"), "peer": PEER}
    return call("pg_switchover", directory, part=part, **{**arguments, **more})


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("part", ["hand_over", "take_over"])
def test_nothing_there(tmp_path: Path, part: str, check_mode: bool) -> None:
    result = switchover(tmp_path, part, application_name="pg2", _ansible_check_mode=check_mode)

    assert result["failed"] is True
    assert "is absent, expected a running one" in result["msg"]


def test_no_name_to_come_back_with(tmp_path: Path) -> None:
    result = switchover(tmp_path, "hand_over")

    assert "part is hand_over but all of the following are missing: application_name" in result["msg"]


@pytest.mark.parametrize("more", [{"slot": "PG-2"}, {"drop_slots": ["pg1", "x'; DROP"]}])
def test_a_slot_that_postgresql_would_not_take(tmp_path: Path, more: dict[str, Any]) -> None:
    result = switchover(tmp_path, "hand_over", application_name="PG-2", **more)

    assert "expected lower-case letters, digits and underscores" in result["msg"]


def test_a_peer_without_a_name(tmp_path: Path) -> None:
    result = switchover(tmp_path, "take_over", peer={"address": "127.0.0.1"})

    assert "expected a name, an address and a port" in result["msg"]
