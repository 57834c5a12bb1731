# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.modules import pg_slots


class Ended(Exception):
    """The module called exit_json or fail_json."""


class Primary:
    """A module on a host whose instance has slots: by name, whether each is active."""

    def __init__(self, slots: dict[str, bool], wanted: list[str], removed: list[str], check_mode: bool = False) -> None:
        self.slots = slots
        self.params = {"wanted": wanted, "removed": removed, "port": 5432, "timeout": 0}
        self.check_mode = check_mode
        self.result: dict[str, Any] = {}

    def run_command(self, argv: list[str], cwd: str) -> tuple[int, str, str]:
        query, name = argv[-1], argv[-1].partition("'")[2].partition("'")[0]
        if query.startswith("SELECT coalesce"):
            rows = [
                {"name": slot, "kind": "physical", "active": active, "temporary": False}
                for slot, active in self.slots.items()
            ]
            return 0, json.dumps(rows), ""
        if "pg_create_physical_replication_slot" in query:
            self.slots[name] = False
        elif "pg_drop_replication_slot" in query:
            del self.slots[name]
        return 0, "", ""

    def exit_json(self, **result: Any) -> None:
        self.result = result
        raise Ended

    def fail_json(self, **result: Any) -> None:
        self.result = {"failed": True, **result}
        raise Ended


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(primary: Primary) -> dict[str, Any]:
        monkeypatch.setattr(pg_slots, "AnsibleModule", lambda **_arguments: primary)
        with pytest.raises(Ended):
            pg_slots.main()
        return primary.result

    return run


def test_check_then_apply_then_again(run: Any) -> None:
    primary = Primary({"pg3": False, "cdc": False}, ["pg2"], ["pg3"], check_mode=True)
    planned = run(primary)
    assert (planned["made"], planned["dropped"]) == (("pg2",), ("pg3",))
    assert set(primary.slots) == {"pg3", "cdc"}
    primary.check_mode = False
    assert run(primary) == planned
    assert set(primary.slots) == {"pg2", "cdc"}
    assert run(primary)["changed"] is False


def test_a_slot_in_use_is_kept(run: Any) -> None:
    primary = Primary({"pg3": True}, [], ["pg3"])
    assert "the slot pg3 is still in use" in run(primary)["msg"]
    assert primary.slots == {"pg3": True}
