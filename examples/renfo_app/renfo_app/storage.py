# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared store: one directory tree that every replica and every load balancer sees.

`videos/<id>` holds the files, `.incoming/` the uploads on their way. Both are in the same tree,
so that a finished upload appears under its final name by one rename, whole or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

_DIRECTORY_MODE = 0o2770  # setgid: the web server reads through the group
_FILE_MODE = 0o640
_ABANDONED_AFTER = 24 * 3600  # seconds without a write


class TooLarge(Exception):
    """The upload is larger than the limit."""


class Incoming:
    """An upload on its way: a file to write to, which counts and hashes what passes."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self.size = 0
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
        self._file = os.fdopen(fd, "w+b")
        os.fchmod(fd, _FILE_MODE)  # whatever the umask

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        self.size += len(data)
        if self.size > self._max_bytes:
            raise TooLarge
        self._hash.update(data)
        return self._file.write(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def sync(self) -> None:
        """Return once the bytes are on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def discard(self) -> None:
        """Close, and remove the file unless it was kept already. Never raises for the store."""
        for act in (self.close, self.path.unlink):
            with suppress(OSError):  # kept, or the store is gone; `prepare` clears what stays
                act()


class Store:
    def __init__(self, root: Path, *, max_bytes: int, require_mount: bool = False) -> None:
        self.root = root
        self._videos = root / "videos"
        self._incoming = root / ".incoming"
        self._max_bytes = max_bytes
        self._require_mount = require_mount

    def prepare(self) -> None:
        """Make the two directories, whoever is first, and clear uploads abandoned long ago."""
        self._require_root()
        for directory in (self._videos, self._incoming):
            try:
                directory.mkdir()
            except FileExistsError:
                continue
            directory.chmod(_DIRECTORY_MODE)
        _fsync_directory(self.root)
        for path in self._incoming.iterdir():
            try:
                if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                    path.unlink()
            except OSError:
                pass  # another replica was faster, or the file isn't ours

    def open_incoming(self) -> Incoming:
        self._require_root()
        path = self._incoming / secrets.token_hex(16)
        try:
            return Incoming(path, self._max_bytes)
        except FileNotFoundError:
            self.prepare()
            return Incoming(path, self._max_bytes)

    def keep(self, incoming: Incoming, video_id: str) -> None:
        """Give the upload its final name. When this returns, file and name survive a power cut."""
        incoming.sync()
        incoming.close()
        os.rename(incoming.path, self.path(video_id))
        _fsync_directory(self._videos)

    def path(self, video_id: str) -> Path:
        return self._videos / video_id

    def check(self, probe_name: str) -> str:
        """Write, read and remove a small file; says what is free. Raises OSError."""
        self._require_root()
        probe = self._incoming / f"ready-{probe_name}-{os.getpid()}"
        try:
            probe.write_bytes(b"ok")
        except FileNotFoundError:
            self.prepare()
            probe.write_bytes(b"ok")
        try:
            if probe.read_bytes() != b"ok":
                raise OSError(errno.EIO, "read back something else than was written", str(probe))
        finally:
            probe.unlink(missing_ok=True)
        space = os.statvfs(self.root)
        return f"{space.f_bavail * space.f_frsize / 1024**3:.1f} GiB free"

    def _require_root(self) -> None:
        device = self.root.stat().st_dev
        # With the share unmounted, the empty directory below it would take uploads that no
        # other replica can see.
        if self._require_mount and device == self.root.parent.stat().st_dev:
            raise OSError(errno.ENODEV, "nothing is mounted here", str(self.root))


def _fsync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
