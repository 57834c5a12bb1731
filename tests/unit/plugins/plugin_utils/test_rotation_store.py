# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible_collections.renfo.redundancy.plugins.action.rotation import ActionModule
from ansible_collections.renfo.redundancy.plugins.module_utils.rotation import stages
from ansible_collections.renfo.redundancy.plugins.plugin_utils import rotation_store
from ansible_collections.renfo.redundancy.plugins.plugin_utils.rotation_store import move, read

PARTS = ("certificates", "ca", "passwords")


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A secrets folder, with the new CA beside it that rotate.yml makes first."""
    for folder in ("tls", "rotation"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ca.crt").write_text(f"certificate in {folder}\n")
        (tmp_path / folder / "ca.key").write_text(f"key in {folder}\n")
    (tmp_path / "tls/pg1.crt").write_text("before")
    (tmp_path / "site_database_password").write_text("old\n")
    (tmp_path / "site_backup_passphrase").write_text("kept\n")
    return tmp_path


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_until_it_is_done_the_old_half_is_where_it_was(secrets: Path) -> None:
    before = files(secrets)
    certificates = {"pg1": str(secrets / "tls/pg1.crt"), "pg9": str(secrets / "tls/pg9.crt")}
    for stage in stages(PARTS):
        assert move(secrets, stage, PARTS, certificates)
        assert not move(secrets, stage, PARTS, certificates)
        assert before.items() <= files(secrets).items()
    new = files(secrets / "rotation")
    assert new["ca-bundle.crt"] == "certificate in rotation\ncertificate in tls\n"
    assert len(new["site_database_password"]) == 41
    assert "site_backup_passphrase" not in new
    # Nobody uses it: the user has it elsewhere.
    assert "pg_replication_password" not in new
    rotation = read(secrets)
    assert rotation is not None
    assert list(rotation.old) == ["pg1"]
    for path in (secrets / "rotation").iterdir():
        assert path.suffix == ".crt" or path.name == "ca.key" or path.stat().st_mode & 0o777 == 0o600, path

    assert move(secrets, "done", (), {})
    assert not move(secrets, "done", (), {})
    assert files(secrets) == {
        "tls/ca.crt": "certificate in rotation\n",
        "tls/ca.key": "key in rotation\n",
        "tls/pg1.crt": "before",
        "site_database_password": new["site_database_password"],
        "site_backup_passphrase": "kept\n",
    }


def test_passwords_are_new_each_time(secrets: Path) -> None:
    seen = set()
    for _ in range(3):
        for stage in (*stages(["passwords"]), "done"):
            move(secrets, stage, ["passwords"], {})
        seen.add((secrets / "site_database_password").read_text())
    assert len(seen) == 3


@pytest.mark.parametrize("survived", range(6))
def test_a_controller_that_dies_at_the_end_loses_nothing(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    for stage in stages(PARTS):
        move(secrets, stage, PARTS, {})
    wanted = (secrets / "rotation/site_database_password").read_text()
    left = iter(range(survived))

    def dies(call: Any) -> Any:
        def wrapped(*arguments: Any, **more: Any) -> Any:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return call(*arguments, **more)

        return wrapped

    with monkeypatch.context() as patched:
        patched.setattr(rotation_store, "_write", dies(rotation_store._write))
        patched.setattr(os, "rename", dies(os.rename))
        patched.setattr(rotation_store.shutil, "rmtree", dies(rotation_store.shutil.rmtree))
        with pytest.raises(KeyboardInterrupt):
            move(secrets, "done", (), {})
    there = read(secrets)
    # Either it counts whole, or it has ended whole.
    assert there is None or there.stage == "retire"
    counts = secrets / "rotation" if there else secrets
    assert (counts / "site_database_password").read_text() == wanted
    move(secrets, "done", (), {})
    assert files(secrets)["tls/ca.key"] == "key in rotation\n"
    # What it left is no state of the next one.
    (secrets / "rotation").mkdir(exist_ok=True)
    assert move(secrets, "prepare", ["passwords"], {})
    assert not (secrets / "rotation.ended").exists()


def test_a_state_that_lost_its_ca(secrets: Path) -> None:
    move(secrets, "prepare", PARTS, {})
    (secrets / "rotation/ca.key").unlink()
    with pytest.raises(ValueError, match=r"there is no ca\.key beside it"):
        read(secrets)


def test_a_state_that_is_no_state(secrets: Path) -> None:
    (secrets / "rotation/state.json").write_text("{")
    with pytest.raises(ValueError, match=r"state\.json: "):
        read(secrets)


def act(check: bool = False, **arguments: Any) -> dict[str, Any]:
    task = MagicMock(args=arguments, async_val=0, check_mode=check)
    action = ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    result: dict[str, Any] = action.run(task_vars={})
    return result


def test_the_task_says_what_moved(secrets: Path) -> None:
    given = {"directory": str(secrets), "parts": ["passwords"]}
    assert act(check=True, stage="prepare", **given) == {"changed": True}
    assert read(secrets) is None
    assert act(stage="prepare", **given) == {"changed": True}
    assert act(stage="prepare", **given) == {"changed": False}
    assert act(check=True, stage="done", **given) == {"changed": True}
    assert act(stage="renew", **given) == {"changed": True}
    assert "is in stage renew" in act(stage="prepare", **given)["msg"]
