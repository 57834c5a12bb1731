# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils import backup_restore_io
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_restore_io import Restore
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import Instance
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import PgError

NOW = datetime.datetime(2026, 11, 24, 14, 5, tzinfo=datetime.UTC)


class Host:
    """Commands succeed and are remembered; systemd says that nothing runs."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, argv: Sequence[str]) -> tuple[int, str, str]:
        self.asked.append(" ".join(argv))
        return (3 if "is-active" in argv else 0), "", ""


@pytest.fixture
def restore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Restore:
    monkeypatch.setattr(backup_restore_io.shutil, "chown", lambda *_args: None)
    data = tmp_path / "main"
    data.mkdir()
    (data / "PG_VERSION").write_text("17\n")
    (tmp_path / "postgresql.conf").write_text("")
    paths = {"binaries": tmp_path, "config_directory": tmp_path}
    instance = dataclasses.replace(Instance.of(17, data_directory=str(data)), **paths)
    return Restore(instance, Host(), ("--set=x", "--type=time", "--target=then", "--target-action=pause"), size=1000)


def test_files_come_beside_what_is_there(restore: Restore) -> None:
    restore.fetch()
    host = restore.run
    assert isinstance(host, Host)
    command = host.asked[-1]
    assert command.endswith(f"{' '.join(restore.options)} restore")
    assert f"--pg1-path={restore.directory} --delta" in command
    assert restore.directory.name == "main.restored"
    # The shell of PostgreSQL fills it in, wherever the directory is by then.
    assert (
        'restore_command=pgbackrest --stanza=main --pg1-path="$PWD" --no-archive-async archive-get %f "%p" || {'
        in command
    )


def test_what_an_interrupted_restore_left_is_gone_on_with_only_if_it_can_be(restore: Restore) -> None:
    restore.directory.mkdir()
    (restore.directory / "half").write_text("")
    restore.fetch()
    assert list(restore.directory.iterdir()) == []
    (restore.directory / "backup.manifest").write_text("")
    restore.fetch()
    assert (restore.directory / "backup.manifest").exists()


def test_too_little_room(restore: Restore) -> None:
    with pytest.raises(PgError, match=r"bytes free, expected .* Nothing was changed"):
        dataclasses.replace(restore, size=10**18).fetch()
    assert not restore.directory.exists()


def test_tablespaces_are_refused(restore: Restore) -> None:
    (restore.instance.data_directory / "pg_tblspc").mkdir()
    restore.fetch()
    (restore.instance.data_directory / "pg_tblspc/16400").symlink_to("/elsewhere")
    with pytest.raises(PgError, match="has tablespaces"):
        restore.fetch()


def test_the_old_data_is_kept_and_the_new_one_will_be_promoted(restore: Restore) -> None:
    restore.directory.mkdir()
    (restore.directory / "postgresql.auto.conf").write_text(
        "restore_command = 'x'\nrecovery_target_time = 'then'\nrecovery_target_action = 'pause'"
    )
    old = restore.place(NOW)
    data = restore.instance.data_directory
    assert old is not None
    assert old.name == "main.before-20261124T140500Z"
    assert (old / "PG_VERSION").exists()
    assert (data / "postgresql.auto.conf").read_text() == (
        "restore_command = 'x'\nrecovery_target_time = 'then'\nrecovery_target_action = 'promote'\n"
    )
    assert not restore.directory.exists()


def test_where_no_data_was_none_is_kept(restore: Restore) -> None:
    (restore.instance.data_directory / "PG_VERSION").unlink()
    restore.directory.mkdir()
    assert restore.place(NOW) is None
    assert restore.instance.data_directory.is_dir()


def test_nothing_is_put_below_a_running_server(restore: Restore, monkeypatch: pytest.MonkeyPatch) -> None:
    restore.directory.mkdir()
    monkeypatch.setattr(backup_restore_io, "running_postmaster", lambda _data: os.getpid())
    with pytest.raises(PgError, match="still runs"):
        restore.place(NOW)
    assert (restore.instance.data_directory / "PG_VERSION").exists()


def test_the_copy_is_removed(restore: Restore) -> None:
    assert not restore.remove()
    restore.directory.mkdir()
    assert restore.remove()
    assert not restore.directory.exists()


def test_a_host_that_was_never_set_up(restore: Restore) -> None:
    (restore.instance.config_directory / "postgresql.conf").unlink()
    with pytest.raises(PgError, match=r"expected a host that is ready for PostgreSQL.*Run site\.yml first"):
        restore.fetch()
    assert not restore.directory.exists()


def test_a_host_that_never_held_a_database(restore: Restore) -> None:
    data = restore.instance.data_directory
    moved = dataclasses.replace(
        restore, instance=dataclasses.replace(restore.instance, data_directory=data / "17/main")
    )
    moved.fetch()
    assert moved.directory.exists()
