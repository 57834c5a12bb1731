# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.release import (
    archive_names,
    image_archive_problem,
    image_problem,
    image_release_id,
    release_id,
    release_problems,
    version_of,
    version_problem,
)
from hypothesis import given
from hypothesis import strategies as st

FILES = ("shop/__init__.py", "shop/wsgi.py", "gunicorn.conf.py")


def tar(path: Path, mode: str, prefix: str = "") -> Path:
    with tarfile.open(path, mode) as archive:
        folder = tarfile.TarInfo(f"{prefix}shop")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name in FILES:
            member = tarfile.TarInfo(prefix + name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"\n"))
    return path


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:xz", "w:bz2"])
def test_names_in_a_tar_archive(tmp_path: Path, mode: str) -> None:
    assert archive_names(tar(tmp_path / "release", mode)) == FILES


def test_names_in_a_zip_archive(tmp_path: Path) -> None:
    path = tmp_path / "release.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in FILES:
            archive.writestr(name, "\n")
    assert archive_names(path) == FILES


@pytest.mark.parametrize(
    "content", [b"", b"#!/bin/sh\n", b"\x1f\x8bbroken"], ids=["empty", "a script", "a broken gzip"]
)
def test_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "release.tar.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"release\.tar\.gz is neither a tar nor a zip archive: "):
        archive_names(path)


def test_a_download_that_broke_off(tmp_path: Path) -> None:
    path = tar(tmp_path / "release.tar.gz", "w:gz")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="is neither a tar nor a zip archive"):
        archive_names(path)


def test_a_release_is_named_after_its_content(tmp_path: Path) -> None:
    path = tmp_path / "release"
    path.write_bytes(b"content")
    assert release_id(path) == hashlib.sha256(b"content").hexdigest()[:12]
    wheels = tmp_path / "requirements.txt"
    wheels.write_bytes(b"flask")
    assert release_id(path, wheels) != release_id(path)
    assert release_id(path, version="1.4.0") == f"1.4.0-{release_id(path)}"
    assert [version_of(release_id(path, version=version)) for version in ("1.4.0", "2-rc1", "")] == [
        "1.4.0",
        "2-rc1",
        "",
    ]


DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "image",
    [
        f"registry.example.org/shop@sha256:{DIGEST}",
        f"registry.example.org:5000/team/shop:1.4.0@sha256:{DIGEST}",
        f"localhost:5000/shop:v1_2-x@sha256:{DIGEST}",
    ],
)
def test_an_image_by_its_digest(image: str) -> None:
    assert image_problem(image) == ""
    assert image_release_id(image) == DIGEST[:12]
    assert version_of(image_release_id(image, "1.4.0")) == "1.4.0"


@pytest.mark.parametrize(
    "image",
    [
        "registry.example.org/shop:1.4.0",
        f"shop@sha256:{DIGEST}",
        f"https://registry.example.org/shop@sha256:{DIGEST}",
        f"registry.example.org/shop@sha256:{DIGEST[:-1]}",
        f"--all/shop@sha256:{DIGEST}",
        f"registry.example.org/shop@sha256:{DIGEST}\n",
    ],
)
def test_no_image_that_is_the_same_on_every_host(image: str) -> None:
    assert image_problem(image).startswith("app_replicas_image is ")


def image_archive(path: Path, manifest: str | None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in {
            "0123/layer.tar": "x",
            **({"manifest.json": manifest} if manifest is not None else {}),
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        ('[{"Config": "0123.json"}]', ""),
        (None, "it is no image archive, for it has no manifest.json: make it with docker save or podman save"),
        ("[{}, {}]", "it holds 2 images: make it with"),
        ("{}", "it holds no images: make it with"),
    ],
)
def test_an_archive_of_one_image(tmp_path: Path, manifest: str | None, sentence: str) -> None:
    problem = image_archive_problem(image_archive(tmp_path / "image.tar.gz", manifest))
    assert problem.startswith(sentence)
    assert bool(problem) is bool(sentence)


def test_an_image_archive_that_is_none(tmp_path: Path) -> None:
    for text in (b"", b"no archive"):
        (tmp_path / "image.tar").write_bytes(text)
        with pytest.raises(ValueError, match="is no image archive"):
            image_archive_problem(tmp_path / "image.tar")
    with pytest.raises(ValueError, match="is no image archive"):
        image_archive_problem(image_archive(tmp_path / "image.tar", "no json"))


@pytest.mark.parametrize("version", ["1", "1.4.0", "2026-11-27_3", "v1+build.7"])
def test_a_version(version: str) -> None:
    assert version_problem(version) == ""


@pytest.mark.parametrize("version", ["", ".1", "-1", "1/2", "..", "1 2", "é", "1%i", "1\n", "x" * 65, 1.1])
def test_no_version(version: object) -> None:
    assert version_problem(version).startswith("app_replicas_version is ")


@pytest.mark.parametrize(
    ("names", "entry_point"),
    [
        (FILES, "shop.wsgi:app"),
        (FILES, "shop:app"),
        (("./shop/wsgi.py",), "shop.wsgi:create_app()"),
        (("app.py",), "app:app"),
    ],
    ids=["a module", "a package", "names with a dot in front", "a single file"],
)
def test_good_archives(names: tuple[str, ...], entry_point: str) -> None:
    assert list(release_problems(names, entry_point)) == []


@pytest.mark.parametrize(
    ("names", "entry_point", "sentence"),
    [
        pytest.param(
            ("shop-1.2/shop/wsgi.py", "shop-1.2/README.md"),
            "shop.wsgi:app",
            "the archive has no shop/wsgi.py or shop/wsgi/__init__.py, which app_replicas_entry_point 'shop.wsgi:app' needs; "
            "at its top it has shop-1.2",
            id="everything one folder too deep",
        ),
        pytest.param(
            (),
            "shop:app",
            "the archive has no shop.py or shop/__init__.py, which app_replicas_entry_point 'shop:app' needs; "
            "at its top it has nothing",
            id="an empty archive",
        ),
        pytest.param(
            FILES,
            "shop.wsgi",
            "app_replicas_entry_point is 'shop.wsgi', expected module:object, such as shop.wsgi:app",
            id="an entry point without its object",
        ),
        pytest.param(
            (*FILES, "shop/../../etc/cron.d/x"),
            "shop.wsgi:app",
            "the archive holds names outside of it (../etc/cron.d/x)",
            id="a name that climbs out",
        ),
        pytest.param(
            (*FILES, "/etc/passwd"),
            "shop.wsgi:app",
            "the archive holds names outside of it (/etc/passwd)",
            id="a name from the root",
        ),
        pytest.param(
            (*FILES, ".."), "shop.wsgi:app", "the archive holds names outside of it (..)", id="the folder above"
        ),
    ],
)
def test_bad_archives(names: tuple[str, ...], entry_point: str, sentence: str) -> None:
    assert list(release_problems(names, entry_point)) == [sentence]


@given(st.lists(st.text(alphabet="ab./")), st.text(alphabet="ab.:"))
def test_whatever_is_in_it_gets_an_answer(names: list[str], entry_point: str) -> None:
    assert all(isinstance(problem, str) for problem in release_problems(names, entry_point))
