# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small program on this host that writes down what it sees, through faults and reboots, until it is removed."""

from __future__ import annotations

import contextlib
import inspect
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

Run = Callable[[Sequence[str]], tuple[int, str, str]]


class Recorder:
    """The service *unit*, which keeps its lines in *folder* below ``/var/lib``.

    *root* is where the file system begins; *run* executes a command.
    """

    def __init__(self, unit: str, folder: str, run: Run, root: Path = Path("/")) -> None:
        self._run = run
        self._name = unit
        self._unit = root / "etc/systemd/system" / unit
        self._folder = root / "var/lib" / folder
        self._lines = self._folder / "samples.jsonl"

    def begin(self, program: ModuleType, user: str, *arguments: str) -> None:
        """Run *program* as *user* from now on, after a reboot too. It is given a file for its lines and *arguments*."""
        self.end()
        self._folder.mkdir(mode=0o755, parents=True)
        path = self._folder / "sampler.py"
        path.write_text(inspect.getsource(program), encoding="utf-8")
        shutil.chown(self._folder, user)
        self._unit.write_text(
            "# Written by drill.yml, which removes it.\n"
            f"[Service]\nUser={user}\n"
            f"ExecStart=/usr/bin/python3 {path} {self._lines} {' '.join(arguments)}\nRestart=on-failure\n"
            "[Install]\nWantedBy=multi-user.target\n",
            encoding="utf-8",
        )
        for command in (("daemon-reload",), ("enable", "--quiet", self._name), ("start", self._name)):
            code, _out, errors = self._run(("systemctl", *command))
            if code != 0:
                raise OSError(0, f"systemctl {' '.join(command)}: {errors.strip()}", self._name)

    def end(self) -> None:
        """Remove every trace."""
        if self._unit.exists():
            self._run(("systemctl", "disable", "--now", "--quiet", self._name))
            self._unit.unlink()
            self._run(("systemctl", "daemon-reload"))
        shutil.rmtree(self._folder, ignore_errors=True)

    def lines(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """What was written since byte *offset*, and where to go on. Only whole lines."""
        if not self._lines.exists():
            return [], 0
        with self._lines.open("rb") as file:
            file.seek(offset)
            whole = file.read().rpartition(b"\n")[0]
        found = []
        for line in whole.splitlines():
            # A power cut leaves half a line, or zeros.
            with contextlib.suppress(ValueError):
                found.append(json.loads(line.strip(b"\0")))
        return found, offset + len(whole) + (1 if whole else 0)
