# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases of the application as they lie on a host.

``HOME/releases/<id>/`` with a file ``.complete`` in each that was unpacked to its end, the link ``HOME/current``, and
``HOME/releases.json`` with what ``release_state`` remembers beside it. ``.image`` in a release says that it is an
image, which Podman keeps, and ``.service`` is the unit that its copies are started by: both go with the release.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.release_state import State


class ReleaseError(Exception):
    """The host doesn't have what it is told to run."""


def read_state(home: Path) -> State:
    """What the host remembers."""
    remembered: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError):
        try:
            remembered = json.loads((home / "releases.json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise ReleaseError(
                f"{home / 'releases.json'} can't be read: {error}. Remove it; it is made anew."
            ) from error
    current = ""
    with contextlib.suppress(OSError):
        current = os.path.basename(os.readlink(home / "current"))
    return State.from_dict({**remembered, "current": current})


def complete_releases(home: Path) -> list[str]:
    """Ids of the releases that are there as a whole, the newest first."""
    marks = sorted((home / "releases").glob("*/.complete"), key=lambda mark: mark.stat().st_mtime, reverse=True)
    return [mark.parent.name for mark in marks]


def observe(home: Path) -> dict[str, Any]:
    """State and releases as plain data."""
    try:
        there = complete_releases(home)
        images = [release for release in there if (home / "releases" / release / ".image").exists()]
        return {**read_state(home).to_dict(), "releases": there, "images": images, "error": ""}
    except (ReleaseError, OSError) as error:
        return {**State().to_dict(), "releases": [], "images": [], "error": str(error)}


def apply(home: Path, old: State, new: State, unit: Path | None = None) -> None:
    """Make *new* of *old*, with the *unit* file that belongs to it.

    Interrupted at any point, what is found is one of the two.
    """
    if unit and new.current != old.current:
        _keep_unit(home / "releases" / old.current, unit)
    if new.trial:
        # Before the link: whoever finds the link must know what ran before.
        _write(home, new)
    if new.current != old.current:
        _mark_version(home / "releases" / new.current)
        _link(home, new.current)
    if unit and not has_unit(home, new.current, unit):
        _replace(unit, _unit_of(home, new.current).read_text(encoding="utf-8"))
    if not new.trial and new != old:
        _write(home, new)


def has_unit(home: Path, release: str, unit: Path) -> bool:
    """Whether the file *unit* is the one that *release* brought; if it brought none, any will do."""
    brought = _unit_of(home, release)
    if not release or not brought.is_file():
        return True
    return unit.is_file() and unit.read_bytes() == brought.read_bytes()


def _unit_of(home: Path, release: str) -> Path:
    return home / "releases" / release / ".service"


def _keep_unit(folder: Path, unit: Path) -> None:
    """A release of before units came with releases gets the one that it ran with."""
    if folder.name != "releases" and folder.is_dir() and unit.is_file() and not (folder / ".service").exists():
        _replace(folder / ".service", unit.read_text(encoding="utf-8"))


def surplus_tags(tags: Collection[str], releases: Collection[str]) -> list[str]:
    """Those *tags* of images that are of none of the *releases*."""
    return sorted(set(tags) - {tag(release) for release in releases})


def tag(release: str) -> str:
    """The tag of a release's image: an id may have a character that a tag may not."""
    return release.replace("+", "_")


def remove(home: Path, releases: Collection[str]) -> None:
    """Remove the folders of *releases*; the mark goes first, so that half of one is never taken for it."""
    for release in releases:
        folder = home / "releases" / release
        (folder / ".complete").unlink(missing_ok=True)
        shutil.rmtree(folder)


def environment(release: str) -> str:
    """The file ``.complete``: copies find their version in it, as an environment file."""
    return f"APP_VERSION={release}\n"


def _mark_version(folder: Path) -> None:
    mark = folder / ".complete"
    if not mark.is_file():
        raise ReleaseError(f"there is no release {folder.name} in {folder.parent}, expected it there as a whole")
    if mark.read_text(encoding="utf-8") != environment(folder.name):
        # It was unpacked when the version still stood elsewhere.
        _replace(mark, environment(folder.name))


def _write(home: Path, state: State) -> None:
    remembered = {name: value for name, value in state.to_dict().items() if name != "current"}
    _replace(home / "releases.json", json.dumps(remembered) + "\n")


def _replace(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            os.fchmod(stream.fileno(), 0o644)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _link(home: Path, release: str) -> None:
    """In one step: there is always a current release."""
    temporary = home / ".current.new"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(Path("releases") / release)
    os.replace(temporary, home / "current")
