# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a rotation and its new half, in the secrets folder on the controller.

``rotation/`` holds the new CA, the new passwords and ``state.json``; what is in force until then stays where it is. A
rotation has begun when its state is there, and has ended when the folder has another name: both happen in one step.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets as random
import shutil
import string
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.renfo.redundancy.plugins.module_utils.rotation import DONE, PASSWORDS, Rotation

FOLDER = "rotation"
#: What an ended rotation leaves for a moment.
ENDED = "rotation.ended"
PASSWORD_LENGTH = 40


def read(secrets: Path) -> Rotation | None:
    """The rotation that is under way; ValueError if its state can't be read."""
    state = secrets / FOLDER / "state.json"
    try:
        found = state.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        rotation = Rotation.from_dict(json.loads(found))
    except ValueError as error:
        raise ValueError(f"{state}: {error}") from error
    files = ["ca.crt", "ca.key", "ca-bundle.crt"] if "ca" in rotation.parts else []
    if lost := [file for file in files if not (secrets / FOLDER / file).is_file()]:
        raise ValueError(f"{state}: a rotation of the CA is under way, and there is no {', '.join(lost)} beside it")
    return rotation


def move(secrets: Path, stage: str, parts: Sequence[str], certificates: Mapping[str, str], check: bool = False) -> bool:
    """Whether the rotation moved to *stage*; it is begun where there is none. Unless *check*, it has moved.

    *certificates* are the files of those that are to be replaced, by name.
    """
    there = read(secrets)
    if stage == DONE:
        if there is not None and not check:
            _finish(secrets, there)
        return there is not None
    if there is None:
        # One that is not there is due anyhow.
        old = {name: digest(Path(path)) for name, path in certificates.items() if Path(path).is_file()}
        after = Rotation(tuple(parts), stage, old)
        if not check:
            _begin(secrets, after)
    else:
        after = there.moved(stage)
    if after != there and not check:
        _write(secrets / FOLDER / "state.json", json.dumps(after.to_dict(), indent=2) + "\n")
    return after != there


def digest(path: Path) -> str:
    """Of a file, to know it again."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _begin(secrets: Path, rotation: Rotation) -> None:
    """All that the first stage needs, before the state says that it is there."""
    folder = secrets / FOLDER
    shutil.rmtree(secrets / ENDED, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if "ca" in rotation.parts:
        both = [(path / "ca.crt").read_text(encoding="utf-8").strip() for path in (folder, secrets / "tls")]
        _write(folder / "ca-bundle.crt", "\n".join([*both, ""]), 0o644)
    if "passwords" in rotation.parts:
        for name in PASSWORDS:
            # What isn't there the user set, or nobody uses.
            if (secrets / name).is_file():
                letters = string.ascii_letters + string.digits
                _write(folder / name, "".join(random.choice(letters) for _letter in range(PASSWORD_LENGTH)) + "\n")


def _finish(secrets: Path, rotation: Rotation) -> None:
    """The new half takes the place of the old one. It counts until the folder is gone, so nothing is in between."""
    folder = secrets / FOLDER
    if "ca" in rotation.parts:
        _write(secrets / "tls" / "ca.key", (folder / "ca.key").read_text(encoding="utf-8"))
        _write(secrets / "tls" / "ca.crt", (folder / "ca.crt").read_text(encoding="utf-8"), 0o644)
    if "passwords" in rotation.parts:
        for name in PASSWORDS:
            if (folder / name).is_file():
                _write(secrets / name, (folder / name).read_text(encoding="utf-8"))
    shutil.rmtree(secrets / ENDED, ignore_errors=True)
    os.rename(folder, secrets / ENDED)
    _sync(secrets)
    shutil.rmtree(secrets / ENDED)


def _write(path: Path, content: str, mode: int = 0o600) -> None:
    """The old file or the new one, whole, whatever happens to this machine."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), mode)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
