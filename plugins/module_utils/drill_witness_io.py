# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host itself says about a drill: the writes that its database accepted, the files that its store holds."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils import drill_sampler

Run = Callable[[Sequence[str]], tuple[int, str, str]]

UNIT = "renfo-drill-sampler.service"
#: A clock's step, and what a file system rounds.
MARGIN = 5.0


class Witness:
    """The sampler on this host. *root* is where the file system begins; *run* executes a command."""

    def __init__(self, run: Run, root: Path = Path("/")) -> None:
        self._run = run
        self._unit = root / "etc/systemd/system" / UNIT
        self._folder = root / "var/lib/renfo-drill"
        self._samples = self._folder / "samples.jsonl"

    def begin(self, until: float, port: int = 5432) -> None:
        """Sample from now on, after a reboot too, until *until* (seconds since the epoch)."""
        self.end()
        self._folder.mkdir(mode=0o755, parents=True)
        program = self._folder / "sampler.py"
        program.write_text(inspect.getsource(drill_sampler), encoding="utf-8")
        shutil.chown(self._folder, "postgres")
        self._unit.write_text(
            "# Written by drill.yml, which removes it.\n"
            "[Service]\nUser=postgres\n"
            f"ExecStart=/usr/bin/python3 {program} {self._samples} {until:.0f} {port}\nRestart=on-failure\n"
            "[Install]\nWantedBy=multi-user.target\n",
            encoding="utf-8",
        )
        for command in (("daemon-reload",), ("enable", "--quiet", UNIT), ("start", UNIT)):
            code, _out, errors = self._run(("systemctl", *command))
            if code != 0:
                raise OSError(0, f"systemctl {' '.join(command)}: {errors.strip()}", UNIT)

    def end(self) -> None:
        """Remove every trace."""
        if self._unit.exists():
            self._run(("systemctl", "disable", "--now", "--quiet", UNIT))
            self._unit.unlink()
            self._run(("systemctl", "daemon-reload"))
        shutil.rmtree(self._folder, ignore_errors=True)

    def samples(self, offset: int) -> tuple[list[dict[str, Any]], int]:
        """What was written since byte *offset*, and where to go on. Only whole lines."""
        if not self._samples.exists():
            return [], 0
        with self._samples.open("rb") as file:
            file.seek(offset)
            whole = file.read().rpartition(b"\n")[0]
        found = []
        for line in whole.splitlines():
            # A power cut leaves half a line, or zeros.
            with contextlib.suppress(ValueError):
                found.append(json.loads(line.strip(b"\0")))
        return found, offset + len(whole) + (1 if whole else 0)


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
