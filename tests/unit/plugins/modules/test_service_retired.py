# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.modules import service_retired


class Ended(Exception):
    """The module called exit_json or fail_json."""


class Host:
    """A module on a host with a few units: active, enabled."""

    def __init__(self, units: dict[str, tuple[str, str]], *wanted: str, check_mode: bool = False) -> None:
        self.units = units
        self.params = {"units": list(wanted)}
        self.check_mode = check_mode
        self.did: list[str] = []
        self.result: dict[str, Any] = {}

    def run_command(self, argv: list[str]) -> tuple[int, str, str]:
        match argv:
            case ["systemctl", "list-units", *_options, pattern]:
                stem = pattern.partition("*")[0]
                return 0, "".join(f"{unit} loaded\n" for unit in self.units if unit.startswith(stem)), ""
            case ["systemctl", "show", unit, asked]:
                active, enabled = self.units.get(unit, ("inactive", ""))
                there = "loaded" if unit in self.units else "not-found"
                told = {"LoadState": there, "ActiveState": active, "UnitFileState": enabled}
                names = asked.removeprefix("--property=").split(",")
                return 0, "".join(f"{name}={told[name]}\n" for name in names), ""
            case ["systemctl", "daemon-reload"]:
                return 0, "", ""
            case ["systemctl", verb, *_options, unit]:
                self.did.append(f"{verb} {unit}")
                active, enabled = self.units[unit]
                self.units[unit] = ("inactive", enabled) if verb == "stop" else (active, "disabled")
                return 0, "", ""
        raise AssertionError(argv)

    def exit_json(self, **result: Any) -> None:
        self.result = result
        raise Ended


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(host: Host) -> dict[str, Any]:
        monkeypatch.setattr(service_retired, "AnsibleModule", lambda **_arguments: host)
        with pytest.raises(Ended):
            service_retired.main()
        return host.result

    return run


def units() -> dict[str, tuple[str, str]]:
    return {
        "nginx.service": ("active", "enabled"),
        "app@1.service": ("active", "enabled"),
        "app@2.service": ("inactive", "enabled"),
        "idle.service": ("inactive", "disabled"),
    }


def test_check_then_apply_then_again(run: Any) -> None:
    wanted = ("nginx.service", "app@*.service", "idle.service", "nowhere.service")
    host = Host(units(), *wanted, check_mode=True)
    planned = run(host)
    assert planned["actions"] == ["retire nginx.service", "retire app@1.service", "retire app@2.service"]
    assert host.did == []
    host.check_mode = False
    assert run(host) == planned
    assert host.did[:4] == [
        "disable nginx.service",
        "stop nginx.service",
        "disable app@1.service",
        "stop app@1.service",
    ]
    assert run(host)["changed"] is False


def test_a_mount_that_was_made_by_hand_is_stopped(run: Any) -> None:
    host = Host({"srv-media.mount": ("active", "")}, "srv-media.mount")
    assert run(host)["actions"] == ["retire srv-media.mount"]
    assert host.units["srv-media.mount"][0] == "inactive"
