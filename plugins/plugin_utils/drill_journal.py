# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a drill on the controller: one JSON value a line, appended by whoever has something to say."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

#: No line is longer, in bytes, by far.
LONGEST = 65536


def forget(folder: Path, names: Iterable[str]) -> None:
    """Remove the files and folders of those *names* from *folder*. Nothing else in it is touched."""
    for name in names:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def note(path: str | Path, event: str, **details: Any) -> None:
    """Append what happened, now unless ``at`` says when. One write, so that two workers don't mix their lines."""
    line = json.dumps({"at": time.time(), "event": event, **details}) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def lines(path: str | Path) -> list[dict[str, Any]]:
    """Everything that was noted; a last line that is just being written is left out."""
    found = []
    if Path(path).exists():
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                break
    return found


def last_line(path: str | Path) -> dict[str, Any] | None:
    """What was noted last and is written to its end; None if there is nothing. However long the file is."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LONGEST))
            whole = file.read().rpartition(b"\n")[0]
    except FileNotFoundError:
        return None
    found: dict[str, Any] | None = json.loads(whole.rpartition(b"\n")[2]) if whole else None
    return found
