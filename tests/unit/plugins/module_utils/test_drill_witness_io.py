# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils import drill_recorder_io, drill_sampler, drill_witness_io
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_witness_io import UNIT, Witness, digests


@pytest.fixture(autouse=True)
def _anybody_is_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill_recorder_io.shutil, "chown", lambda *_arguments: None)


def witness(root: Path, ran: list[str] | None = None, code: int = 0) -> Witness:
    (root / "etc/systemd/system").mkdir(parents=True, exist_ok=True)

    def run(command: Sequence[str]) -> tuple[int, str, str]:
        (ran if ran is not None else []).append(" ".join(command))
        return code, "", "no"

    return Witness(run, root)


def test_it_samples_after_a_reboot_too(tmp_path: Path) -> None:
    ran: list[str] = []
    witness(tmp_path, ran).begin(1234.0)
    assert f"systemctl enable --quiet {UNIT}" in ran
    assert (tmp_path / "var/lib/renfo-drill/sampler.py").read_text() == Path(drill_sampler.__file__).read_text()
    assert "samples.jsonl 1234 5432\n" in (tmp_path / "etc/systemd/system" / UNIT).read_text()


def test_it_leaves_no_trace(tmp_path: Path) -> None:
    ran: list[str] = []
    watching = witness(tmp_path, ran)
    watching.begin(1234.0)
    watching.end()
    assert f"systemctl disable --now --quiet {UNIT}" in ran
    assert not list((tmp_path / "etc/systemd/system").iterdir())
    assert not (tmp_path / "var/lib/renfo-drill").exists()
    watching.end()


def test_a_service_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="systemctl daemon-reload: no"):
        witness(tmp_path, code=1).begin(1.0)


def test_samples_are_read_once_and_whole(tmp_path: Path) -> None:
    watching = witness(tmp_path)
    watching.begin(1.0)
    file = tmp_path / "var/lib/renfo-drill/samples.jsonl"
    assert watching.samples(0) == ([], 0)
    file.write_text('{"at": 1, "timeline": 1}\n{"at": 2, "ti')
    found, offset = watching.samples(0)
    assert found == [{"at": 1, "timeline": 1}]
    with file.open("a") as out:
        # What a power cut leaves of a line, and the first line after it.
        out.write('\0\0\n{"at": 3, "timeline": 2}\n')
    assert watching.samples(offset) == ([{"at": 3, "timeline": 2}], file.stat().st_size)


def test_checksums_of_what_is_new(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "videos" / "new"
    new.parent.mkdir()
    for path in (old, new):
        path.write_bytes(path.name.encode())
    os.utime(old, (1, 1))
    assert digests(str(tmp_path), time.time() - 10) == [hashlib.sha256(b"new").hexdigest()]
    assert len(digests(str(tmp_path), 0)) == 2


def test_a_store_that_can_not_be_read_is_none_that_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_path: str) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    monkeypatch.setattr(drill_witness_io.os, "scandir", gone)
    with pytest.raises(OSError, match="not connected"):
        digests(str(tmp_path), 0)
