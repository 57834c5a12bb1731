# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host itself says about a drill: the writes that its database accepted, the files that its store holds."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils import drill_sampler
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_recorder_io import Recorder, Run

UNIT = "renfo-drill-sampler.service"
#: A clock's step, and what a file system rounds.
MARGIN = 5.0


class Witness:
    """The sampler on this host. *root* is where the file system begins; *run* executes a command."""

    def __init__(self, run: Run, root: Path = Path("/")) -> None:
        self._recorder = Recorder(UNIT, "renfo-drill", run, root)

    def begin(self, until: float, port: int = 5432) -> None:
        """Sample from now on, after a reboot too, until *until* (seconds since the epoch)."""
        self._recorder.begin(drill_sampler, "postgres", f"{until:.0f}", str(port))

    def end(self) -> None:
        """Remove every trace."""
        self._recorder.end()

    def samples(self, offset: int) -> tuple[list[dict[str, Any]], int]:
        """What was written since byte *offset*, and where to go on. Only whole lines."""
        return self._recorder.lines(offset)


def digests(directory: str, since: float) -> list[str]:
    """SHA-256 of every file below *directory* that was written since *since* (seconds since the epoch)."""
    return sorted(_sha256(path) for path in _files(directory, since - MARGIN))


def _files(directory: str, since: float) -> Iterator[str]:
    # A store that can't be read is none that holds nothing.
    for folder, _folders, names in os.walk(directory, onerror=_raise):
        for name in names:
            path = os.path.join(folder, name)
            # Uploads on their way come and go.
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_mtime >= since:
                    yield path


def _raise(error: OSError) -> None:
    # A folder may be removed while we look; the store itself has to be there.
    if not isinstance(error, FileNotFoundError):
        raise error


def _sha256(path: str) -> str:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return ""
