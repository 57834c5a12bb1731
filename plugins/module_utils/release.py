# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release is called, and what its archive must hold. Pure but for reading the archive."""

from __future__ import annotations

import hashlib
import json
import lzma
import posixpath
import re
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

#: A name for a folder, and one that no shell, unit file or environment file reads as anything else.
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,63}")
#: An image by its content: with a tag alone each host might pull another one.
_IMAGE = re.compile(r"[a-z0-9][\w.-]*(:[0-9]+)?(/[\w.-]+)+(:[\w.-]+)?@sha256:([0-9a-f]{64})")
_VERSIONED = re.compile(rf"({VERSION.pattern})-[0-9a-f]{{12}}")


def version_problem(version: object) -> str:
    """Why *version* can't name a release; empty if it can."""
    if isinstance(version, float):
        return f"app_replicas_version is the number {version}: a zero at its end would be lost. Put it in quotes."
    if not VERSION.fullmatch(str(version)):
        return (
            f"app_replicas_version is {str(version)!r}, expected up to 64 letters, digits and any of . _ + -, "
            "the first one a letter or a digit."
        )
    return ""


def version_of(release: str) -> str:
    """The version in the id of a release; empty if it has none."""
    found = _VERSIONED.fullmatch(release)
    return found[1] if found else ""


def release_id(*parts: Path, version: str = "") -> str:
    """The id of a release: the first 12 hex digits of the SHA-256 of all that it is made of, after its *version*.

    So the same version with another content is another release.
    """
    digest = hashlib.sha256()
    for part in parts:
        with part.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return "-".join(filter(None, (version, digest.hexdigest()[:12])))


def image_release_id(image: str, version: str = "") -> str:
    """The id of a release that is an image in a registry: the digest stands for all that it is made of."""
    return "-".join(filter(None, (version, image.rpartition("@sha256:")[2][:12])))


def image_problem(image: str) -> str:
    """Why hosts can't be told to pull *image*; empty if they can."""
    if _IMAGE.fullmatch(image):
        return ""
    return (
        f"app_replicas_image is {image!r}, expected a registry, a name and a digest, such as "
        "registry.example.org/shop:1.4.0@sha256:<64 hex digits>: behind a tag alone each host may find another image"
    )


def image_archive_problem(archive: Path) -> str:
    """Why *archive* can't be loaded as one image; empty if it can.

    Raises ``ValueError`` when it is no archive, or broken.
    """
    hint = "make it with docker save or podman save, of one image"
    try:
        with tarfile.open(archive) as index:
            stream = index.extractfile("manifest.json")
            found = json.load(stream) if stream else None
    except KeyError:
        return f"it is no image archive, for it has no manifest.json: {hint}"
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{archive} is no image archive: {error}") from error
    if not isinstance(found, list) or len(found) != 1:
        return f"it holds {len(found) if isinstance(found, list) else 'no'} images: {hint}"
    return ""


def archive_names(archive: Path) -> tuple[str, ...]:
    """Names of the files in a tar (any compression) or zip archive.

    Raises ``ValueError`` when it is neither, or broken.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as index:
                return tuple(index.namelist())
        with tarfile.open(archive) as index:
            return tuple(member.name for member in index if member.isfile())
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise ValueError(f"{archive} is neither a tar nor a zip archive: {error}") from error


def release_problems(names: Collection[str], entry_point: str) -> Iterator[str]:
    """What keeps an archive with these file *names* from serving *entry_point* (``module:object``)."""
    module, colon, attribute = entry_point.partition(":")
    if not (module and colon and attribute):
        yield f"app_replicas_entry_point is {entry_point!r}, expected module:object, such as shop.wsgi:app"
        return
    clean = {posixpath.normpath(name) for name in names}
    unsafe = sorted(name for name in clean if name == ".." or name.startswith(("/", "../")))
    if unsafe:
        yield f"the archive holds names outside of it ({unsafe[0]})"
    path = module.replace(".", "/")
    wanted = (f"{path}.py", f"{path}/__init__.py")
    if not clean.intersection(wanted):
        top = ", ".join(sorted({name.split("/")[0] for name in clean})[:8]) or "nothing"
        yield (
            f"the archive has no {' or '.join(wanted)}, which app_replicas_entry_point {entry_point!r} needs; "
            f"at its top it has {top}"
        )
