"""The files and folders of a host, against a real file system."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.modules.managed_files import (
    HIDDEN,
    FilesError,
    ensure_directory,
    ensure_file,
)

ME = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}


def file(path: Path, **given: Any) -> dict[str, Any]:
    return {"path": str(path), "content": None, "mode": "0640", **ME, **given}


def folder(path: Path, **given: Any) -> dict[str, Any]:
    return {"path": str(path), "mode": "0750", **ME, **given}


def mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o7777:04o}"


def test_a_file_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "shop.conf"
    diff = ensure_file(file(path, content="é = 1\n"), {}, check=False)
    assert diff is not None
    assert (diff["before"], diff["after"]) == ("", "é = 1\n")
    assert (path.read_text(), mode(path)) == ("é = 1\n", "0640")
    assert ensure_file(file(path, content="é = 1\n"), {}, check=False) is None


@pytest.mark.parametrize("change", [{"content": "b"}, {"content": "a", "mode": "0600"}], ids=["content", "mode"])
def test_a_difference_is_mended(tmp_path: Path, change: dict[str, str]) -> None:
    path = tmp_path / "f"
    ensure_file(file(path, content="a"), {}, check=False)
    assert ensure_file(file(path, **change), {}, check=True) is not None
    assert (path.read_text(), mode(path)) == ("a", "0640"), "check mode changed the file"
    ensure_file(file(path, **change), {}, check=False)
    assert (path.read_text(), mode(path)) == (change["content"], change.get("mode", "0640"))
    assert os.listdir(tmp_path) == ["f"], "a temporary file was left"


def test_a_secret_is_in_no_diff(tmp_path: Path) -> None:
    path = tmp_path / "key"
    ensure_file(file(path), {str(path): "old secret"}, check=False)
    diff = ensure_file(file(path), {str(path): "new secret"}, check=False)
    assert diff is not None
    assert (diff["before"], diff["after"]) == ("", HIDDEN)
    assert path.read_text() == "new secret"


def test_a_file_without_content_is_named(tmp_path: Path) -> None:
    with pytest.raises(FilesError, match="it has no content, and secrets holds none for it"):
        ensure_file(file(tmp_path / "key"), {}, check=True)


def test_a_link_is_replaced_and_what_it_points_to_is_not(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("a")
    (tmp_path / "f").symlink_to(elsewhere)
    ensure_file(file(tmp_path / "f", content="b"), {}, check=False)
    assert elsewhere.read_text() == "a"
    assert not (tmp_path / "f").is_symlink()


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert ensure_directory(folder(path), check=True)
    assert not path.exists()
    assert ensure_directory(folder(path), check=False)
    assert mode(path) == "0750"
    assert not ensure_directory(folder(path), check=False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"owner": "nobody-knows"}, "there is no user nobody-knows on this host"),
        ({"mode": "rw-r--r--"}, "mode is 'rw-r--r--', expected octal such as 0644"),
    ],
    ids=["unknown owner", "mode that isn't octal"],
)
def test_bad_input_is_named(tmp_path: Path, given: dict[str, str], message: str) -> None:
    with pytest.raises(FilesError, match=message):
        ensure_file(file(tmp_path / "f", content="", **given), {}, check=False)


def test_a_check_of_a_new_host_does_not_need_the_owner_yet(tmp_path: Path) -> None:
    assert ensure_file(file(tmp_path / "f", content="", owner="postgres-to-be"), {}, check=True) is not None


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(FilesError, match="is there and is a folder"):
        ensure_file(file(tmp_path / "f", content=""), {}, check=False)
    (tmp_path / "d").write_text("")
    with pytest.raises(FilesError, match="is there and is no folder"):
        ensure_directory(folder(tmp_path / "d"), check=False)
    with pytest.raises(FilesError, match="there is no folder"):
        ensure_file(file(tmp_path / "absent" / "f", content=""), {}, check=False)
