# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils import release_io
from ansible_collections.renfo.redundancy.plugins.module_utils.release_io import (
    ReleaseError,
    apply,
    complete_releases,
    environment,
    has_unit,
    observe,
    read_state,
    remove,
    surplus_tags,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.release_state import State, Trial, begin, finish


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for age, name in enumerate("abc"):
        folder = tmp_path / "releases" / name
        folder.mkdir(parents=True)
        (folder / ".complete").write_text(environment(name))
        os.utime(folder / ".complete", (age, age))
    (tmp_path / "releases/half").mkdir()
    return tmp_path


def test_a_host_that_never_ran_anything(tmp_path: Path) -> None:
    assert read_state(tmp_path / "nowhere") == State()
    assert observe(tmp_path / "nowhere")["releases"] == []


def test_a_change_is_read_back(home: Path) -> None:
    for release in "ab":
        old = read_state(home)
        new = begin(old, release, "x")
        apply(home, old, new)
        assert read_state(home) == new
        apply(home, new, finish(new))
    assert read_state(home) == State("b", "a", over="x")
    assert os.readlink(home / "current") == "releases/b"
    found = observe(home)
    assert (found["current"], found["previous"], found["releases"]) == ("b", "a", ["c", "b", "a"])


def test_an_interruption_before_the_link_changes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(home, State(), State("a"))

    def power_cut(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(release_io, "_link", power_cut)
    with pytest.raises(KeyboardInterrupt):
        apply(home, State("a"), State("b", trial=Trial("b", "a")))
    assert read_state(home) == State("a")


def test_an_interruption_after_the_link_is_known(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = State("b", trial=Trial("b", "a"))
    apply(home, State("a"), trial)

    def power_cut(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(release_io, "_write", power_cut)
    with pytest.raises(KeyboardInterrupt):
        apply(home, trial, State("a"))
    # It went back; the trial that is still written down is none any more.
    assert read_state(home) == State("a")


def test_half_a_release_is_not_linked(home: Path) -> None:
    with pytest.raises(ReleaseError, match="there is no release half in"):
        apply(home, State(), State("half"))
    assert not (home / "current").exists()


def test_a_release_of_an_older_role_learns_its_version(home: Path) -> None:
    (home / "releases/a/.complete").write_text("a\n")
    apply(home, State(), State("a"))
    assert (home / "current/.complete").read_text() == "APP_VERSION=a\n"


def test_old_releases_go(home: Path) -> None:
    remove(home, ["a"])
    assert complete_releases(home) == ["c", "b"]
    assert not (home / "releases/a").exists()


def test_what_cannot_be_read_is_told(home: Path) -> None:
    (home / "releases.json").write_text("{")
    assert "can't be read" in observe(home)["error"]


def test_the_unit_goes_with_the_release(home: Path) -> None:
    unit = home / "app@.service"
    unit.write_text("of a, which was there before units came with releases")
    apply(home, State(), State("a"), unit)
    assert has_unit(home, "a", unit)

    (home / "releases/b/.service").write_text("of b")
    trial = State("b", trial=Trial("b", "a"))
    assert not has_unit(home, "b", unit)
    apply(home, State("a"), trial, unit)
    assert (unit.read_text(), has_unit(home, "b", unit)) == ("of b", True)

    apply(home, trial, State("a"), unit)
    assert unit.read_text().startswith("of a")


def test_a_unit_that_was_written_anew_is_taken_over(home: Path) -> None:
    unit = home / "app@.service"
    (home / "releases/a/.service").write_text("of a")
    apply(home, State(), State("a"), unit)
    (home / "releases/a/.service").write_text("of a, changed")
    apply(home, State("a"), State("a"), unit)
    assert unit.read_text() == "of a, changed"


def test_images_are_told_by_their_mark(home: Path) -> None:
    (home / "releases/b/.image").touch()
    (home / "releases/half/.image").touch()
    assert observe(home)["images"] == ["b"]


def test_images_of_no_release() -> None:
    assert surplus_tags(["1_0-a", "2-b", "3-c"], ["1+0-a", "3-c", "4-d"]) == ["2-b"]
