# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from module_process import call

FILES = {
    "plain": ("old\n", ""),
    "configuration": ("[global]\nrepo1-cipher-pass=old\nrepo2-cipher-pass=x\n", "repo1-cipher-pass="),
}


def ask(path: Path, kind: str, secret: str) -> dict[str, Any]:
    return call(
        "kept_secret", path, secrets={str(path / "file"): secret}, prefix=FILES[kind][1], keeps=str(path / "repository")
    )


@pytest.mark.parametrize("kind", FILES)
def test_the_last_copy_of_a_passphrase_is_not_replaced(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text(FILES[kind][0])
    (tmp_path / "repository").mkdir()
    # Nothing needs it yet.
    assert not ask(tmp_path, kind, "new").get("failed")
    (tmp_path / "repository/config").write_text("x")
    assert not ask(tmp_path, kind, "old").get("failed")
    refused = ask(tmp_path, kind, "new")
    assert refused["failed"]
    assert f"stands in {tmp_path}/file" in refused["msg"]
    assert "new" not in refused["msg"]


def test_a_host_that_knows_none(tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository/config").write_text("brought here")
    assert not ask(tmp_path, "plain", "new").get("failed")
