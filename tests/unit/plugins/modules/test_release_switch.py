# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.renfo.redundancy.plugins.module_utils.release_io import environment, read_state
from ansible_collections.renfo.redundancy.plugins.module_utils.release_state import State
from ansible_collections.renfo.redundancy.plugins.module_utils.stack_host import ProbeError
from ansible_collections.renfo.redundancy.plugins.modules import release_switch


class Host:
    """A host with releases a to e, of which copies run some."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.running: list[str | None] = []
        self.images: list[str] = []
        for age, name in enumerate("abcde"):
            folder = home / "releases" / name
            folder.mkdir(parents=True)
            (folder / ".complete").write_text(environment(name))
            os.utime(folder / ".complete", (age, age))

    def call(self, state: str, release: str = "", check: bool = False, **given: Any) -> dict[str, Any]:
        params = {"home": str(self.home), "over": "", "asked": "", "keep": 3, "unit": "app@", "image": "", **given}
        result: dict[str, Any] = release_switch.switch(
            {**params, "state": state, "release": release}, check, run=self._run
        )
        return result

    def _run(self, argv: Sequence[str], _timeout: float) -> str:
        if "list-units" in argv:
            return "".join(f"app@{number}.service loaded active\n" for number, _ in enumerate(self.running))
        if "ls" in argv:
            return "".join(f"{tag}\n" for tag in self.images)
        if argv[1:4] == ["image", "rm", "--force"]:
            self.images.remove(argv[-1].removeprefix("localhost/app:"))
            return ""
        raise ProbeError("not asked for here")

    @property
    def there(self) -> set[str]:
        return {path.name for path in (self.home / "releases").iterdir()}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)

    def units(names: Sequence[str], _run: object) -> dict[str, Any]:
        folders = [None if release is None else f"/srv/app/releases/{release}" for release in host.running]
        return {name: {"running": True, "running_in": folder} for name, folder in zip(names, folders, strict=True)}

    monkeypatch.setattr(release_switch, "units", units)
    monkeypatch.setattr(release_switch, "UNITS", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/podman")
    return host


def test_check_then_apply_then_again(host: Host) -> None:
    host.call("begun", "d")
    planned = host.call("begun", "e", check=True)
    assert (planned["changed"], planned["pending"], planned["before"]) == (True, True, "d")
    assert read_state(host.home).current == "d"

    done = host.call("begun", "e")
    assert {key: done[key] for key in planned} == planned
    assert read_state(host.home).current == "e"
    assert host.call("begun", "e")["changed"] is False


def test_a_trial_ends_and_old_releases_go(host: Host) -> None:
    host.running = ["e", "a"]
    host.call("begun", "d")
    host.call("begun", "e", over="d")
    planned = host.call("done", check=True)
    assert (planned["changed"], planned["removed"], host.there) == (True, ["c", "b"], set("abcde"))

    done = host.call("done")
    assert done == planned
    # The current one, the one before, and the one that a copy still uses.
    assert host.there == {"a", "d", "e"}
    assert read_state(host.home) == State("e", "d", over="d")
    assert host.call("done")["changed"] is False


def test_nothing_goes_while_nobody_knows_what_runs(host: Host) -> None:
    host.running = ["e", None]
    host.call("begun", "e")
    assert host.call("done")["removed"] == []


def test_the_way_back(host: Host) -> None:
    host.call("begun", "d")
    host.call("begun", "e")
    result = host.call("back")
    assert (result["release"], result["pending"], result["changed"]) == ("d", False, True)
    assert "current: e" in result["diff"]["before"]
    assert host.call("back")["changed"] is False


def test_the_unit_of_the_same_release_changes(host: Host) -> None:
    host.call("begun", "d")
    (host.home / "releases/d/.service").write_text("new")
    assert host.call("begun", "d", check=True)["changed"] is True
    assert not (host.home / "app@.service").exists()
    found = host.call("begun", "d")
    assert (found["changed"], found["pending"]) == (True, False)
    assert (host.home / "app@.service").read_text() == "new"
    assert host.call("begun", "d")["changed"] is False


def test_images_go_with_their_releases(host: Host) -> None:
    host.images = ["a", "b", "e", "never-finished"]
    host.call("begun", "e")
    planned = host.call("done", image="localhost/app", keep=4, check=True)
    assert (planned["removed"], planned["images"]) == (["a"], ["localhost/app:a", "localhost/app:never-finished"])
    assert len(host.images) == 4
    assert host.call("done", image="localhost/app", keep=4) == planned
    assert host.images == ["b", "e"]


def test_a_host_without_podman_has_no_images(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    host.images = ["x"]
    host.call("begun", "e")
    assert host.call("done", image="localhost/app")["images"] == []


def test_the_options_are_documented() -> None:
    options = yaml.safe_load(release_switch.DOCUMENTATION)["options"]
    assert set(options) == {"home", "state", "release", "over", "asked", "keep", "unit", "image"}
